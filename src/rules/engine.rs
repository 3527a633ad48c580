//! The rhai engine with every limit set: rules can declare, compute and query, and nothing else.
//!
//! Always holds: no clock, no randomness, no files, no `import`, no `eval`, nothing printed. A run
//! ends by its limit on operations or by its deadline, neither of which a script can catch.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    BitFieldPackage, LanguageCorePackage, LogicPackage, MoreStringPackage, Package,
};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, OptimizationLevel, Position};

/// Result of a function that scripts call.
pub(super) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// Operations and time that a run may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) operations: u64,
    pub(super) time: Duration,
}

/// One top-level statement at load; a loop may declare ten thousand rules.
pub(super) const AT_LOAD: Budget = Budget { operations: 5_000_000, time: Duration::from_secs(5) };
/// One closure at an evaluation.
pub(super) const AT_EVALUATION: Budget = Budget { operations: 200_000, time: Duration::from_millis(800) };

thread_local! {
    static RUNNING: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// Runs a script under a budget. Budgets belong to the thread: scripts do not leave it.
pub(super) fn within_budget<T>(budget: Budget, run: impl FnOnce() -> T) -> T {
    struct Restore(Option<(u64, Instant)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            RUNNING.set(self.0);
        }
    }
    let _restore = Restore(RUNNING.replace(Some((budget.operations, Instant::now() + budget.time))));
    run()
}

fn over_budget(operations: u64) -> Option<Dynamic> {
    let (operations_max, deadline) = RUNNING.get()?;
    if operations > operations_max {
        return Some(format!("it takes more than {operations_max} operations").into());
    }
    // Asking the clock costs more than an operation.
    if operations & 255 == 0 && Instant::now() > deadline {
        return Some("it takes too long".into());
    }
    None
}

/// An engine with limits and the standard functions, without any declarations.
pub(super) fn bare() -> Engine {
    let mut engine = Engine::new_raw();
    LanguageCorePackage::new().register_into_engine(&mut engine);
    ArithmeticPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    BasicFnPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    // Key positions are lost where the optimiser makes one literal of a map.
    engine.set_optimization_level(OptimizationLevel::None);
    engine.set_fail_on_invalid_map_property(true);
    engine
        .set_max_operations(AT_LOAD.operations)
        // Together they keep the deepest run below 1.5 MiB of stack; threads have 2.
        .set_max_expr_depths(64, 40)
        .set_max_call_levels(20)
        .set_max_string_size(64 * 1024)
        .set_max_array_size(10_000)
        .set_max_map_size(1_024)
        .set_max_functions(20_000)
        .set_max_variables(1_024)
        .set_max_modules(0);
    engine.disable_symbol("eval");
    engine.disable_symbol("import");
    for name in ["sleep", "timestamp", "exit"] {
        engine.register_fn(name, move || -> Outcome<()> { Err(format!("`{name}` is not allowed in rules").into()) });
        engine.register_fn(name, move |_: Dynamic| -> Outcome<()> { Err(format!("`{name}` is not allowed in rules").into()) });
    }
    engine.register_fn("sleep", |_: i64| -> Outcome<()> { Err("`sleep` is not allowed in rules".into()) });
    engine.register_fn("sleep", |_: f64| -> Outcome<()> { Err("`sleep` is not allowed in rules".into()) });
    engine.on_print(|_| ());
    engine.on_debug(|_, _, _| ());
    engine.on_progress(over_budget);
    // Our own operators are only asked when the built-in short cuts are off.
    engine.set_fast_operators(false);
    refuse_mixed_comparisons(&mut engine);
    engine
}

/// rhai answers `"5" > 3` and `() < 1` with `false`, in silence: a rule with such a slip would never fire.
fn refuse_mixed_comparisons(engine: &mut Engine) {
    macro_rules! refuse {
        ($($a:ty => [$($b:ty),*]),* $(,)?) => { $($( refuse_pair::<$a, $b>(engine); )*)* };
    }
    refuse! {
        i64 => [bool, char, ImmutableString, Array, Map, FnPtr],
        f64 => [bool, char, ImmutableString, Array, Map, FnPtr],
        bool => [i64, f64, char, ImmutableString, Array, Map, FnPtr],
        char => [i64, f64, bool, Array, Map, FnPtr],
        ImmutableString => [i64, f64, bool, Array, Map, FnPtr],
        Array => [i64, f64, bool, char, ImmutableString, Map, FnPtr],
        Map => [i64, f64, bool, char, ImmutableString, Array, FnPtr],
        FnPtr => [i64, f64, bool, char, ImmutableString, Array, Map],
    }
    // `x == ()` is how a script asks whether there is a value; an order between them makes no sense.
    macro_rules! refuse_unit {
        ($($a:ty),*) => { $( for op in ["<", "<=", ">", ">="] { refuse_op::<$a, ()>(engine, op); refuse_op::<(), $a>(engine, op); } )* };
    }
    refuse_unit!(i64, f64, bool, char, ImmutableString, Array, Map, FnPtr);
}

fn refuse_pair<A: Clone + Send + Sync + 'static, B: Clone + Send + Sync + 'static>(engine: &mut Engine) {
    for op in ["==", "!=", "<", "<=", ">", ">="] {
        refuse_op::<A, B>(engine, op);
    }
}

fn refuse_op<A: Clone + Send + Sync + 'static, B: Clone + Send + Sync + 'static>(engine: &mut Engine, op: &'static str) {
    engine.register_fn(op, move |_: NativeCallContext, a: A, b: B| -> Outcome<bool> {
        let (a, b) = (describe(&Dynamic::from(a)), describe(&Dynamic::from(b)));
        Err(format!("`{op}` compares {a} with {b}, which is never what a rule means").into())
    });
}

/// What a value is, in the words of a rule author.
pub(super) fn describe(value: &Dynamic) -> String {
    if value.is_unit() {
        "nothing".into()
    } else if value.is_bool() {
        "true or false".into()
    } else if value.is_int() || value.is_float() {
        "a number".into()
    } else if value.is_string() || value.is_char() {
        "a text".into()
    } else if value.is_array() {
        "a list".into()
    } else if value.is_map() {
        "a map".into()
    } else if value.is_fnptr() {
        "a closure".into()
    } else {
        match value.type_name().rsplit("::").next().unwrap_or("") {
            "SliValue" => "an SLI".into(),
            "Counter" => "a count".into(),
            "TierValue" => "a tier".into(),
            "Preset" => "burn-rate tiers".into(),
            "SecretRef" => "a secret".into(),
            "KindValue" => "a kind of receiver".into(),
            "RouteRef" => "a route".into(),
            "Query" => "the query object".into(),
            _ => "a value of another kind".into(),
        }
    }
}

/// The innermost error, with the source file (if the chain names one) and position nearest to it.
pub(super) fn innermost(error: &EvalAltResult) -> (&EvalAltResult, Option<&str>, Position) {
    let mut position = error.position();
    let mut source = None;
    let mut error = error;
    loop {
        let inner = match error {
            EvalAltResult::ErrorInFunctionCall(_, file, inner, _) => {
                if !file.is_empty() {
                    source = Some(file.as_str());
                }
                inner
            }
            EvalAltResult::ErrorInModule(file, inner, _) => {
                if !file.is_empty() {
                    source = Some(file.as_str());
                }
                inner
            }
            _ => return (error, source, position),
        };
        error = inner;
        if !error.position().is_none() {
            position = error.position();
        }
    }
}

/// A call that fits no function: its name and the kinds of what it is given.
fn missing_function(signature: &str) -> String {
    let (name, given) = signature.split_once(" (").unwrap_or((signature, ""));
    if name.starts_with("anon$") {
        let object = if given.trim_end_matches(')').rsplit(", ").next() == Some("q") { "q" } else { "t" };
        return format!("the closure is given one value, `{object}`, and has to take it: |{object}| …");
    }
    super::query::usage(name)
        .filter(|_| given.starts_with('q'))
        .or_else(|| super::draft::usage(name))
        .unwrap_or_else(|| format!("there is no function `{name}` that takes {}", kinds(given)))
}

/// The kinds of some arguments in the words of a rule author.
fn kinds(given: &str) -> String {
    let kind = |name: &str| match name {
        "i64" | "f64" => "a number".to_owned(),
        "bool" => "true or false".to_owned(),
        "map" => "a map".to_owned(),
        "array" => "a list".to_owned(),
        "()" => "nothing".to_owned(),
        "Fn" => "a closure".to_owned(),
        name if name.contains("String") || name == "char" => "a text".to_owned(),
        name => name.rsplit("::").next().unwrap_or(name).to_owned(),
    };
    let given = given.strip_suffix(')').unwrap_or(given);
    match given.is_empty() {
        true => "no value".to_owned(),
        false => given.split(", ").map(kind).collect::<Vec<_>>().join(" and "),
    }
}

/// The keys of what queries answer with.
const ANSWERS: [&str; 14] =
    ["total", "bad", "raw", "median", "mad", "z", "value", "share", "kind", "at", "age_s", "app", "release", "text"];

/// An error's text without its position.
pub(super) fn message_of(error: &EvalAltResult) -> String {
    let text = match error {
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        EvalAltResult::ErrorTerminated(value, _) if value.is_string() => format!("stopped: {value}"),
        EvalAltResult::ErrorTooManyOperations(_) => "stopped: it takes too many operations".into(),
        EvalAltResult::ErrorStackOverflow(_) => "stopped: functions call each other too deep".into(),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => missing_function(signature),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            let near = super::problem::hint(name, ANSWERS);
            let rest = if near.is_empty() { "; count, baseline, top and changes answer with maps of fixed keys".to_owned() } else { near };
            format!("there is no `{name}` in this map{rest}")
        }
        _ => {
            let text = error.to_string();
            text.split(" (line ").next().unwrap_or(&text).to_owned()
        }
    };
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    if let Some(first) = text.get(..1).map(str::to_lowercase) {
        text.replace_range(..1, &first);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(script: &str) -> String {
        let engine = bare();
        let error = within_budget(AT_EVALUATION, || engine.eval::<Dynamic>(script)).unwrap_err();
        message_of(innermost(&error).0)
    }

    #[test]
    fn hostile_scripts_end_by_a_limit() {
        for (script, part) in [
            ("loop {}", "operations"),
            ("let s = \"x\"; loop { s += s; }", "string"),
            ("let a = []; loop { a.push(1); }", "array"),
            ("let m = #{}; let i = 0; loop { m[\"k\" + i] = i; i += 1; }", ""),
            ("fn f(x) { f(x + 1) } f(0)", "too deep"),
            ("let s = \"x\"; s.pad(1000000000, \"y\"); s", "string"),
            ("try { loop {} } catch { 1 }", "operations"),
        ] {
            let started = Instant::now();
            let message = fails(script);
            assert!(message.to_lowercase().contains(part), "{script}: {message}");
            assert!(started.elapsed() < Duration::from_secs(5), "{script}");
        }
    }

    #[test]
    fn the_deadline_stops_what_stays_below_the_operations() {
        let engine = bare();
        let slow = Budget { operations: u64::MAX, time: Duration::from_millis(20) };
        let error = within_budget(slow, || engine.eval::<Dynamic>("loop {}")).unwrap_err();
        assert!(message_of(&error).contains("too long") || message_of(&error).contains("too many"), "{error}");
    }

    #[test]
    fn no_clock_no_files_no_other_code() {
        for script in ["timestamp()", "sleep(1)", "sleep(0.1)", "exit()"] {
            assert!(fails(script).contains("not allowed"), "{script}");
        }
        let engine = bare();
        assert!(engine.compile("import \"x\" as y;").is_err());
        assert!(engine.eval::<Dynamic>("eval(\"1\")").is_err());
    }

    #[test]
    fn comparing_different_kinds_is_an_error() {
        for script in ["2500.0 > \"x\"", "() > 1", "\"1\" == 1", "#{a: 1} > 3", "let x = 1; x != \"1\"", "[1] < 2.0", "true == 1"] {
            assert!(fails(script).contains("compares"), "{script}");
        }
        let engine = bare();
        for script in
            ["1 < 1.5", "2.0 == 2", "\"a\" < \"b\"", "let x = 1; x != ()", "() == ()", "\"a\" != ()", "-1 < 0", "!false", "1 + 1 == 2"]
        {
            assert!(engine.eval::<bool>(script).unwrap(), "{script}");
        }
        assert_eq!(engine.eval::<f64>("let x = 1.5; x += 1; x * 2").unwrap(), 5.0);
    }

    #[test]
    fn the_deepest_run_fits_the_stack_of_a_thread() {
        for (open, close) in [("(1 + ", ")"), ("abs(", ")"), ("[", "][0]"), ("if true { ", " } else { 0 }"), ("{ let x = ", "; x }")] {
            let engine = bare();
            let nested = |depth: usize| format!("fn f(x) {{ {}f(x + 1){} }} f(0)", open.repeat(depth), close.repeat(depth));
            let deepest = (1..64).rev().find_map(|depth| engine.compile(nested(depth)).ok()).unwrap();
            // A stack overflow would end the whole process, so less than a thread's 2 MiB must do.
            let run = move || bare().eval_ast::<Dynamic>(&deepest).map_err(|error| message_of(innermost(&error).0));
            let thread = std::thread::Builder::new().stack_size(3 << 19).spawn(run).unwrap();
            assert!(thread.join().unwrap().unwrap_err().contains("too deep"), "{open}");
        }
    }
}
