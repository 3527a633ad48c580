//! What CONTRACT 3 promises, key by key.

use super::*;

fn env(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn serve(text: &str) -> Result<Config, ConfigError> {
    Config::from_text(Some(Path::new("burnwatch.toml")), text, &Environment::default(), Purpose::Serve)
}

fn problems(result: Result<Config, ConfigError>) -> String {
    match result {
        Ok(_) => panic!("expected problems"),
        Err(error) => error.to_string(),
    }
}

fn problems_with(pairs: &[(&str, &str)]) -> String {
    problems(Config::from_text(None, "", &env(pairs), Purpose::Serve))
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::from_text(None, "", &Environment::default(), Purpose::Serve).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:9320");
    assert_eq!(config.server.public_url.as_str(), "http://127.0.0.1:9320/");
    assert_eq!(config.server.body_bytes_max, 67_108_864);
    assert!(config.server.tokens.is_empty());
    assert_eq!(config.intake.listen.to_string(), "127.0.0.1:9321");
    assert!(config.intake.keys.is_empty() && config.intake.sample_rates.is_empty());
    assert_eq!(config.intake.allowed_origins, ["*"]);
    assert_eq!((config.intake.body_bytes_max, config.intake.otlp_bytes_max), (1_048_576, 8_388_608));
    assert_eq!((config.intake.sample_rate_min, config.intake.rate_per_source), (0.001, 1000));
    assert!(config.intake.cohort_flags.is_empty() && config.intake.route_templates.is_empty());
    assert!(config.intake.route_values_max == 100 && config.intake.trusted_proxies.is_empty());
    assert_eq!(config.database.url, "sqlite://burnwatch-data/burnwatch.db");
    assert_eq!((config.aggregation.bucket, config.aggregation.settle), (Span::MINUTE, Span::seconds(30)));
    assert_eq!(
        config.aggregation.dimensions,
        ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"]
    );
    assert_eq!(config.aggregation.series_max, 50_000);
    let Retention { bucket, rollup_5m, rollup_1h } = config.retention;
    assert_eq!((bucket, rollup_5m, rollup_1h), (Span::days(8), Span::days(40), Span::days(400)));
    assert_eq!(config.rules.path, Path::new("rules"));
    assert!(!config.rules.path_given && config.rules.git.is_none() && config.smtp.is_none());
    assert!(config.delivery.allow_private.is_empty() && config.delivery.fallback.is_none() && config.delivery.heartbeat.is_none());
    assert_eq!((config.privacy.redact, config.privacy.consent), (true, OptOut::Anonymous));
    assert!(config.warnings.is_empty());
}

#[test]
fn proxies_are_networks() {
    let given = |networks: &str| Config::from_text(None, "", &env(&[("BURNWATCH_INTAKE__TRUSTED_PROXIES", networks)]), Purpose::Serve);
    let config = given(r#"["10.0.0.0/8", "2001:db8::1"]"#).unwrap();
    let trusted = |address: &str| config.intake.trusted_proxies.iter().any(|network| network.contains(address.parse().unwrap()));
    assert!(trusted("10.9.8.7") && trusted("2001:db8::1") && !trusted("11.0.0.1"));
    for bad in ["lb.internal", "10.1.1.1/8"] {
        assert!(problems(given(&format!("[\"{bad}\"]"))).contains("intake.trusted_proxies"), "{bad}");
    }
}

#[test]
fn flags_and_routes_are_checked_one_by_one() {
    let given = |flags: &str, routes: &str| {
        let pairs = [("BURNWATCH_INTAKE__COHORT_FLAGS", flags), ("BURNWATCH_INTAKE__ROUTE_TEMPLATES", routes)];
        Config::from_text(None, "", &env(&pairs), Purpose::Serve)
    };
    let config = given(r#"["new_checkout", "b"]"#, r#"["/product/:sku/reviews", "/docs/*", "/"]"#).unwrap();
    assert_eq!(config.intake.cohort_flags, ["new_checkout", "b"]);
    assert_eq!(config.intake.route_templates, ["/product/:sku/reviews", "/docs/*", "/"]);
    for flag in ["", "a=b", "a,b", "a b"] {
        assert!(problems(given(&format!("[\"{flag}\"]"), "[]")).contains("is no name of a flag"), "{flag}");
    }
    assert!(problems(given(r#"["a", "a"]"#, "[]")).contains("given twice"));
    for route in ["", "product", "/a?b", "/a#b", "/*/b", "/a*", "/a b", "/a/:"] {
        assert!(problems(given("[]", &format!("[\"{route}\"]"))).contains("is no route"), "{route}");
    }
    let many = vec!["\"/x\""; 501].join(",");
    assert!(problems(given("[]", &format!("[{many}]"))).contains("at most 500"));
}

#[test]
fn the_file_of_the_contract_is_valid() {
    let text = r#"
[server]
listen = "127.0.0.1:9320"
public_url = "http://127.0.0.1:9320"
body_bytes_max = 67108864
tokens = []
[intake]
listen = "127.0.0.1:9321"
keys = []
allowed_origins = ["*"]
body_bytes_max = 1048576
sample_rates = {}
sample_rate_min = 0.001
rate_per_source = 1000
[database]
url = "sqlite://burnwatch-data/burnwatch.db"
[aggregation]
bucket = "1m"
settle = "30s"
delay = { shop = "2m" }
dimensions = ["app","environment","route","region","device","browser","os","release","cohort","sdk"]
series_max = 50000
[retention]
bucket = "8d"
rollup_5m = "40d"
rollup_1h = "400d"
[rules]
path = "rules"
git = { remote = "", branch = "main", every = "30s" }
[secrets]
PAGERDUTY = { env = "PD" }
[smtp]
host = "mail.example.com"
port = 587
tls = "starttls"
username = "u"
password = "p"
from = "burnwatch <alerts@example.com>"
[delivery]
allow_private = ["127.0.0.0/8"]
fallback = ""
heartbeat = { url = "", every = "1m" }
[privacy]
"#;
    let config = serve(text).unwrap();
    assert_eq!((config.aggregation.settle, config.aggregation.delay["shop"]), (Span::seconds(30), Span::seconds(120)));
    assert_eq!(config.smtp.unwrap().port, 587);
    assert!(config.delivery.heartbeat.is_none() && config.rules.git.is_none());
}

#[test]
fn all_errors_come_at_once_with_their_lines_and_the_nearest_key() {
    let text = "[server]\nlisten = 9320\nbody_byte_max = 1\n[aggregation]\nbucket = \"2m\"\nseries_max = 0\n[databse]\nurl = 1\n[intake]\nallowed_origins = [\"shop\"]\n";
    let found = problems(serve(text));
    for expected in [
        "burnwatch.toml:2:1: server.listen: expected a text in quotes, found a whole number",
        "burnwatch.toml:3:1: unknown key `body_byte_max` in [server]; did you mean `body_bytes_max`?",
        "burnwatch.toml:5:1: aggregation.bucket: `2m` is none of \"1s\", \"5s\", \"10s\", \"15s\", \"30s\", \"1m\"",
        "burnwatch.toml:6:1: aggregation.series_max: expected a whole number from 1",
        "unknown key `databse` at the top; did you mean `database`?",
        "burnwatch.toml:10:20: intake.allowed_origins: `shop` is no origin",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 6, "{found}");
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let found = problems(serve("[server\nlisten = \"127.0.0.1:1\"\n"));
    assert!(found.starts_with("burnwatch.toml:1:"), "{found}");
}

#[test]
fn variables_override_every_key_as_toml_or_text() {
    let variables = env(&[
        ("BURNWATCH_DATABASE__URL", "postgres://u:p@db/burnwatch"),
        ("BURNWATCH_SERVER__LISTEN", "127.0.0.1:1"),
        (
            "BURNWATCH_SERVER__TOKENS",
            "[{ name = \"ci\", scopes = [\"read\"], sha256 = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }]",
        ),
        ("BURNWATCH_AGGREGATION__SERIES_MAX", "7"),
        ("BURNWATCH_AGGREGATION__DELAY", "{ shop = \"1m\" }"),
        ("BURNWATCH_INTAKE__SAMPLE_RATES__SHOP", "0.5"),
        ("BURNWATCH_RULES__GIT__REMOTE", "https://git.example.com/rules.git"),
        ("BURNWATCH_SMTP__HOST", "mail"),
        ("BURNWATCH_SMTP__FROM", "a@example.com"),
        ("BURNWATCH_SMTP__USERNAME", "u"),
        ("BURNWATCH_SMTP__PASSWORD", "12345"),
        ("BURNWATCH_DELIVERY__ALLOW_PRIVATE", "[\"127.0.0.0/8\", \"::1\"]"),
        ("BURNWATCH_TOKEN", "not a key"),
        ("BURNWATCH_LOG", "debug"),
        ("UNRELATED", "x"),
    ]);
    let text = "[server]\nlisten = \"127.0.0.1:2\"\n[aggregation]\nsettle = \"5s\"\n";
    let config = Config::from_text(None, text, &variables, Purpose::Serve).unwrap();
    assert_eq!(config.database.url, "postgres://u:p@db/burnwatch");
    assert_eq!(config.server.listen.port(), 1);
    assert_eq!((config.server.tokens[0].name.as_str(), config.server.tokens[0].sha256[1]), ("ci", 0x11));
    assert_eq!((config.aggregation.series_max, config.aggregation.settle), (7, Span::seconds(5)));
    assert_eq!(config.aggregation.delay["shop"], Span::seconds(60));
    assert_eq!(config.intake.sample_rates["shop"], 0.5);
    assert_eq!(config.rules.git.unwrap().branch, "main");
    assert_eq!(config.smtp.unwrap().password.unwrap().expose(), "12345");
    assert_eq!(config.delivery.allow_private.len(), 2);
    assert!(config.warnings.is_empty());
}

#[test]
fn variables_that_match_no_key_are_errors() {
    let found = problems_with(&[("BURNWATCH_DATABASE__URI", "x"), ("BURNWATCH_SERVR__LISTEN", "x"), ("BURNWATCH_DATABASE_URL", "x")]);
    assert!(found.contains("BURNWATCH_DATABASE__URI: unknown key `uri` in [database]; did you mean `url`?"), "{found}");
    assert!(found.contains("BURNWATCH_SERVR__LISTEN: unknown key `servr` at the top; did you mean `server`?"), "{found}");
    assert!(found.contains("BURNWATCH_DATABASE_URL: overrides nothing; did you mean BURNWATCH_DATABASE__URL"), "{found}");
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn variables_that_an_orchestrator_sets_are_warnings() {
    let variables = env(&[("BURNWATCH_PORT", "tcp://10.0.0.1:9320"), ("BURNWATCH_SERVICE_HOST", "10.0.0.1")]);
    let config = Config::from_text(None, "", &variables, Purpose::Serve).unwrap();
    assert_eq!(config.warnings.len(), 2);
}

#[test]
fn an_open_listener_is_refused() {
    let token = "tokens = [{ name = \"a\", scopes = [\"admin\"], sha256 = \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\" }]\n";
    let found = problems(serve("[server]\nlisten = \"0.0.0.0:9320\"\n[intake]\nlisten = \"[::]:9321\"\n"));
    assert!(found.contains("burnwatch.toml:2:1: server.listen") && found.contains("burnwatch.toml:4:1: intake.listen"), "{found}");
    assert!(serve(&format!("[server]\nlisten = \"0.0.0.0:9320\"\n{token}[intake]\nlisten = \"[::]:9321\"\nkeys = [\"k1\"]\n")).is_ok());
    assert!(serve("[server]\nlisten = \"[::1]:9320\"\n[intake]\nlisten = \"127.9.9.9:1\"\n").is_ok());
    let tool = Config::from_text(None, "[server]\nlisten = \"0.0.0.0:9320\"\n", &Environment::default(), Purpose::Tool);
    assert_eq!(tool.unwrap().server.public_url.as_str(), "http://127.0.0.1:9320/");
}

#[test]
fn tokens_are_checked_in_every_field() {
    let text = "[server]\ntokens = [{ name = \"\", scopes = [\"write\"], sha256 = \"abc\" }, { nam = \"x\", scopes = [\"read\"], sha256 = \"00\" }, 5]\n";
    let found = problems(serve(text));
    for expected in
        ["name: a token needs a name", "`write` is none of", "64 hexadecimal digits", "unknown key `nam`", "found a whole number"]
    {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
}

#[test]
fn a_wider_scope_holds_the_narrower_ones() {
    let token = |scope| Token { name: "t".into(), scopes: vec![scope], sha256: [0; 32] };
    assert!(token(Scope::Admin).allows(Scope::Operate) && token(Scope::Operate).allows(Scope::Read));
    assert!(!token(Scope::Read).allows(Scope::Operate) && !token(Scope::Operate).allows(Scope::Admin));
}

#[test]
fn paths_are_relative_to_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("burnwatch.toml");
    std::fs::write(folder.path().join("smtp"), "from-file\r\n").unwrap();
    std::fs::write(
        &file,
        "[database]\nurl = \"sqlite://data/b.db?x=1\"\n[rules]\npath = \"my-rules\"\n[secrets]\nA = { file = \"smtp\" }\n\
         [smtp]\nhost = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"smtp\"\n",
    )
    .unwrap();
    let config = Config::load(Some(&file), &Environment::default(), Purpose::Serve).unwrap();
    assert_eq!(config.database.url, format!("sqlite://{}/data/b.db?x=1", folder.path().display()));
    assert_eq!(config.rules.path, folder.path().join("my-rules"));
    assert!(config.rules.path_given);
    assert_eq!(config.secrets.lookup("A").unwrap().expose(), "from-file");
    assert_eq!(config.smtp.unwrap().password.unwrap().expose(), "from-file");
    assert_eq!(Config::defaults_in(folder.path()).rules.path, folder.path().join("rules"));
    for kept in ["sqlite:///var/b.db", "sqlite://:memory:"] {
        let text = format!("[database]\nurl = \"{kept}\"\n");
        assert_eq!(Config::from_text(Some(&file), &text, &Environment::default(), Purpose::Serve).unwrap().database.url, kept);
    }
}

#[test]
fn a_missing_secret_file_stops_the_daemon_but_not_a_tool() {
    let text = "[smtp]\nhost = \"h\"\nfrom = \"a@b.example\"\nusername = \"u\"\npassword_file = \"/nonexistent/password\"\n[database]\nurl_file = \"/nonexistent/url\"\n";
    let found = problems(serve(text));
    assert!(found.contains("smtp.password_file: cannot read /nonexistent/password"), "{found}");
    assert!(found.contains("database.url_file: cannot read /nonexistent/url"), "{found}");
    let config = Config::from_text(None, text, &Environment::default(), Purpose::Tool).unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert_eq!(config.database.url, "");
}

#[test]
fn a_value_and_its_file_exclude_each_other_unless_a_variable_overrides() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("url");
    std::fs::write(&secret, "postgres://from-file/db").unwrap();
    let text = format!("[database]\nurl_file = \"{}\"\n", secret.display());
    let load = |variables: &[(&str, &str)], text: &str| Config::from_text(None, text, &env(variables), Purpose::Serve);
    assert_eq!(load(&[], &text).unwrap().database.url, "postgres://from-file/db");
    assert_eq!(load(&[("BURNWATCH_DATABASE__URL", "postgres://variable/db")], &text).unwrap().database.url, "postgres://variable/db");
    let both = problems(load(&[], &format!("{text}url = \"postgres://x/y\"\n")));
    assert!(both.contains("`url` is given as well"), "{both}");
}

#[test]
fn nothing_that_is_printed_shows_a_secret() {
    let text = r#"
[server]
tokens = [{ name = "ci", scopes = ["read"], sha256 = "ca11ab1eca11ab1eca11ab1eca11ab1eca11ab1eca11ab1eca11ab1eca11ab1e" }]
[intake]
keys = ["canary-key"]
[database]
url = "postgres://user:canary-db@db:5433/burnwatch?sslpassword=canary-db2"
[rules]
git = { remote = "https://x:canary-git@git.example.com/r.git" }
[smtp]
host = "h"
from = "a@b.example"
username = "u"
password = "canary-smtp"
[delivery]
heartbeat = { url = "https://hb.example.com/canary-beat" }
[privacy]
hash_key = "canary-0123456789abcdef"
"#;
    let variables = env(&[("PD", "canary-variable")]);
    let config = Config::from_text(None, text, &variables, Purpose::Serve).unwrap();
    let dump = format!("{config:?} {config:#?}");
    assert!(!dump.contains("canary") && !dump.contains("ca11ab1e") && !dump.contains("202, 17"), "{dump}");
    assert!(dump.contains("postgres://db:5433/burnwatch"), "{dump}");
    assert_eq!(config.intake.keys, ["canary-key"]);
}

#[test]
fn messages_about_secrets_do_not_quote_them() {
    let text = "[database]\nurl = \"mysql://u:canary@db\"\n[secrets]\nA = \"canary\"\nBURNWATCH_X = { env = \"Y\" }\nB = { env = \"BURNWATCH_TOKEN\" }\nC = { env = \"A\", file = \"b\" }\n\
                [delivery]\nheartbeat = { url = \"canary\" }\n[privacy]\nhash_key = \"canary\"\n";
    let found = problems(serve(text));
    assert!(!found.contains("canary"), "{found}");
    for expected in [
        ":2:1: database.url",
        ":4:1: secrets.A",
        ":5:1: secret `BURNWATCH_X` is refused",
        "secrets.B.env",
        "secrets.C: expected exactly one",
        "heartbeat.url",
        "hash_key",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
}

#[test]
fn coarser_numbers_are_kept_longer() {
    let found = problems(serve("[retention]\nbucket = \"50d\"\n"));
    assert!(found.contains("bucket = 50d is longer than rollup_5m = 40d"), "{found}");
    let found = problems(serve("[retention]\nrollup_1h = \"30d\"\n"));
    assert!(found.contains("rollup_5m = 40d is longer than rollup_1h = 30d"), "{found}");
    let found = problems(serve("[retention]\nbucket = \"1h\"\n[aggregation]\ndelay = { shop = \"2h\" }\n"));
    assert!(found.contains("`shop` waits 2h"), "{found}");
}

#[test]
fn rates_dimensions_and_networks_are_checked() {
    let text = "[intake]\nsample_rates = { a = 1.5, b = 0.0001, c = 1 }\n[aggregation]\ndimensions = [\"app\", \"Route\", \"status\", \"slo\", \"os\", \"os\"]\n\
                [delivery]\nallow_private = [\"10.1.1.1/8\", \"home\"]\n";
    let found = problems(serve(text));
    for expected in [
        "above 0 and at most 1",
        "0.0001 of `b` is below",
        "`Route` is no name",
        "`status` is a metric's own dimension",
        "`slo` is a label",
        "`os` is listed twice",
        "\"10.0.0.0/8\"",
        "`home` is no network",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
    assert!(problems(serve("[aggregation]\ndimensions = [\"route\"]\n")).contains("`app` is missing"));
}

#[test]
fn mail_needs_a_host_and_a_sender() {
    let found = problems(serve("[smtp]\nusername = \"u\"\ntls = \"ssl\"\n"));
    for expected in ["smtp.host: is missing", "smtp.from: is missing", "username and password go together", "`ssl` is none of"] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
    let smtp = |text: &str| serve(&format!("[smtp]\nhost = \"h\"\nfrom = \"a@b.example\"\n{text}")).unwrap().smtp.unwrap();
    assert_eq!((smtp("").port, smtp("tls = \"implicit\"\n").port, smtp("tls = \"none\"\n").port), (587, 465, 25));
}

#[test]
fn links_follow_the_listener_when_no_public_url_is_given() {
    assert_eq!(serve("[server]\nlisten = \"127.0.0.1:1234\"\n").unwrap().server.public_url.as_str(), "http://127.0.0.1:1234/");
    for bad in ["ftp://x", "http://x/?a=1", "burnwatch.example.com", "file:///x"] {
        let found = problems(serve(&format!("[server]\npublic_url = \"{bad}\"\n")));
        assert!(found.contains("server.public_url"), "{bad}: {found}");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/burnwatch.toml")), &Environment::default(), Purpose::Serve).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/burnwatch.toml"), "{error}");
}

#[test]
fn a_repository_of_rules_is_checked_before_git_sees_it() {
    let config = serve(
        "[rules]\npath = \"./alerts/eu\"\ngit = { remote = \"../rules.git\", verify_signatures = true, allowed_signers = \"signers\" }\n",
    );
    let git = config.unwrap().rules.git.unwrap();
    assert_eq!((git.folder.as_str(), git.branch.as_str(), git.every), ("alerts/eu", "main", Span::seconds(30)));
    assert!(git.verify_signatures && git.allowed_signers.is_some_and(|file| file.ends_with("signers")));
    assert!(git.remote.expose().ends_with("../rules.git"), "{}", git.remote.expose());
    for url in ["https://x:y@git.example.com/r.git", "git@example.com:r.git", "file:///srv/r.git"] {
        assert_eq!(serve(&format!("[rules]\ngit = {{ remote = \"{url}\" }}\n")).unwrap().rules.git.unwrap().remote.expose(), url);
    }
    for branch in ["-x", "a:b", "a b", "a..b", "a.lock", ".a", "a/", "+a*", "a@{1}", ""] {
        let found = problems(serve(&format!("[rules]\ngit = {{ remote = \"r\", branch = \"{branch}\" }}\n")));
        assert!(found.contains("is no branch name"), "{branch}: {found}");
    }
    for (text, expected) in [
        ("path = \"/etc/rules\"\ngit = { remote = \"r\" }", "a folder inside the repository"),
        ("path = \"../rules\"\ngit = { remote = \"r\" }", "a folder inside the repository"),
        ("git = { remote = \"--upload-pack=x\" }", "cannot begin with `-`"),
        ("git = { remote = \"r\", allowed_signers = \"s\" }", "verify_signatures"),
    ] {
        let found = problems(serve(&format!("[rules]\n{text}\n")));
        assert!(found.contains(expected), "{text}: {found}");
    }
}
