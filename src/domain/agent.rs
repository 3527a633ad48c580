//! Device class, browser and operating system from a user agent text and client hints: a few families, no versions.

/// What is known of the sender's machine; an empty text is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// `phone`, `tablet`, `desktop` or `bot`.
    pub device: &'static str,
    pub browser: &'static str,
    pub os: &'static str,
}

/// Client hints as browsers send them, raw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// `Sec-CH-UA`
    pub brands: &'a str,
    /// `Sec-CH-UA-Mobile`
    pub mobile: &'a str,
    /// `Sec-CH-UA-Platform`
    pub platform: &'a str,
}

/// Marks of crawlers, monitors and headless browsers, in lower case.
const BOTS: [&str; 22] = [
    "headless",
    "bot/",
    "bot;",
    "bot)",
    "bot ",
    "-bot",
    "googlebot",
    "crawl",
    "spider",
    "slurp",
    "lighthouse",
    "pingdom",
    "phantomjs",
    "puppeteer",
    "playwright",
    "selenium",
    "facebookexternalhit",
    "uptimerobot",
    "statuscake",
    "site24x7",
    "synthetic",
    "bingpreview",
];

/// Browsers by the mark in the user agent, in the order in which they must be asked: most of them
/// carry the marks of others too.
const BROWSERS: [(&str, &str); 17] = [
    ("edg/", "edge"),
    ("edga/", "edge"),
    ("edgios/", "edge"),
    ("edge/", "edge"),
    ("opr/", "opera"),
    ("opios/", "opera"),
    ("opera", "opera"),
    ("samsungbrowser/", "samsung"),
    ("yabrowser/", "yandex"),
    ("ucbrowser/", "uc"),
    ("vivaldi/", "vivaldi"),
    ("fxios/", "firefox"),
    ("firefox/", "firefox"),
    ("crios/", "chrome"),
    ("chrome/", "chrome"),
    ("chromium/", "chrome"),
    ("safari/", "safari"),
];

const BRANDS: [(&str, &str); 6] = [
    ("Microsoft Edge", "edge"),
    ("Opera", "opera"),
    ("Samsung Internet", "samsung"),
    ("YaBrowser", "yandex"),
    ("Google Chrome", "chrome"),
    ("Chromium", "chrome"),
];

impl Agent {
    /// Reads a user agent and its hints. Hints win where both speak, except that whoever says
    /// anywhere that it is a bot is one.
    pub fn read(user_agent: &str, hints: Hints<'_>) -> Agent {
        let agent = user_agent[..user_agent.floor_char_boundary(512)].to_ascii_lowercase();
        let has = |mark: &str| agent.contains(mark);
        let os = match hints.platform.trim_matches('"') {
            "Windows" => "windows",
            "macOS" => "macos",
            "Linux" => "linux",
            "Android" => "android",
            "iOS" => "ios",
            "Chrome OS" | "ChromeOS" => "chromeos",
            _ if has("windows") => "windows",
            _ if has("iphone") || has("ipad") || has("ipod") => "ios",
            _ if has("android") => "android",
            _ if has("mac os x") || has("macintosh") => "macos",
            _ if has("cros ") => "chromeos",
            _ if has("linux") => "linux",
            _ => "",
        };
        let by_brand = BRANDS.iter().find(|(mark, _)| hints.brands.contains(mark)).map(|(_, name)| *name);
        let by_agent = || BROWSERS.iter().find(|(mark, _)| has(mark)).map(|(_, name)| *name);
        // "Chromium" is in the brands of every browser that is built on it, known or not.
        let browser = match by_brand {
            Some("chrome") | None => by_agent().or(by_brand),
            known => known,
        };
        let device = if BOTS.iter().any(|mark| has(mark)) || hints.brands.contains("Headless") || agent.ends_with("bot") {
            "bot"
        } else if has("ipad") || has("tablet") || has("kindle") || (os == "android" && !has("mobile") && hints.mobile != "?1") {
            "tablet"
        } else if hints.mobile == "?1" || has("mobile") || has("iphone") || has("ipod") {
            "phone"
        } else if matches!(os, "windows" | "macos" | "linux" | "chromeos") {
            "desktop"
        } else {
            ""
        };
        Agent { device, browser: browser.unwrap_or(""), os }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(user_agent: &str) -> (&'static str, &'static str, &'static str) {
        let agent = Agent::read(user_agent, Hints::default());
        (agent.device, agent.browser, agent.os)
    }

    #[test]
    fn real_user_agents() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        assert_eq!(read(&format!("Mozilla/5.0 (X11; Linux x86_64) {webkit} HeadlessChrome/156.0.0.0 Safari/537.36")).0, "bot");
        assert_eq!(
            read(&format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/130.0.0.0 Safari/537.36")),
            ("desktop", "chrome", "windows")
        );
        assert_eq!(
            read(&format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/130.0.0.0 Safari/537.36 Edg/130.0")),
            ("desktop", "edge", "windows")
        );
        assert_eq!(
            read(&format!("Mozilla/5.0 (Linux; Android 14; Pixel 8) {webkit} Chrome/130.0 Mobile Safari/537.36")),
            ("phone", "chrome", "android")
        );
        assert_eq!(
            read(&format!("Mozilla/5.0 (Linux; Android 13; SM-X700) {webkit} SamsungBrowser/23.0 Chrome/115.0 Safari/537.36")),
            ("tablet", "samsung", "android")
        );
        assert_eq!(
            read(
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
            ),
            ("phone", "safari", "ios")
        );
        assert_eq!(
            read("Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 CriOS/120 Mobile/15E148 Safari/604.1"),
            ("tablet", "chrome", "ios")
        );
        assert_eq!(
            read("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:130.0) Gecko/20100101 Firefox/130.0"),
            ("desktop", "firefox", "macos")
        );
        assert_eq!(read("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)").0, "bot");
        assert_eq!(read("curl/8.5.0"), ("", "", ""));
        assert_eq!(read(""), ("", "", ""));
    }

    #[test]
    fn hints_speak_where_user_agents_are_frozen() {
        let hints = Hints { brands: r#""Chromium";v="130", "Microsoft Edge";v="130""#, mobile: "?1", platform: "\"Android\"" };
        assert_eq!(Agent::read("Mozilla/5.0 Chrome/130 Safari/537", hints), Agent { device: "phone", browser: "edge", os: "android" });
        let hints = Hints { brands: r#""HeadlessChrome";v="130""#, mobile: "?0", platform: "\"Linux\"" };
        assert_eq!(Agent::read("Mozilla/5.0", hints).device, "bot");
    }

    #[test]
    fn phones_named_like_bots_are_phones() {
        assert_eq!(read("Mozilla/5.0 (Linux; Android 9; CUBOT_X18_Plus) AppleWebKit/537.36 Chrome/100.0 Mobile Safari/537.36").0, "phone");
    }
}
