//! Loading a folder: parse, read, run, check, rehearse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{AST, Dynamic, Engine, EvalAltResult, Module, Position, Scope, Shared as Arced, Stmt};

use super::draft::{Draft, Shared};
use super::engine::{AT_LOAD, bare, innermost, message_of, within_budget};
use super::folder::content_hash;
use super::lint::{self, Known, Missing, Named};
use super::problem::{Level, Problem, Problems};
use super::program::Program;
use super::query::Surroundings;
use super::source::{Source, Use, parse};
use super::value::Broken;
use super::{alert, calendar, dry_run, query, receiver, references, route, sli, slo, template, tier};
use crate::domain::rule::{Place, RuleSet};
use crate::domain::time::Span;

/// What a whole folder may take to run; ten thousand rules take about a second.
const LOAD_MAX: Duration = Duration::from_secs(20);

/// What rules need to know of the process that loads them.
pub struct Env<'a> {
    /// `aggregation.bucket`.
    pub bucket: Span,
    /// `aggregation.dimensions`.
    pub dimensions: &'a [String],
    /// How long the coarsest data is kept: longer windows get a warning.
    pub retention: Span,
    /// Whether a secret has a value here; without one there is a warning.
    pub has_secret: &'a dyn Fn(&str) -> bool,
}

impl Env<'_> {
    /// What a process with no configuration at all has, and no secrets.
    pub fn defaults() -> Env<'static> {
        static DIMENSIONS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
            ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"].map(str::to_owned).to_vec()
        });
        Env { bucket: Span::MINUTE, dimensions: &DIMENSIONS, retention: Span::days(400), has_secret: &|_| false }
    }
}

/// What a folder came to.
#[derive(Debug)]
pub struct Loaded {
    /// `None` when there is an error.
    pub set: Option<RuleSet>,
    /// The closures of `set`; empty when there is an error.
    pub program: Program,
    /// Everything that was found, in the order of places.
    pub problems: Vec<Problem>,
}

impl Loaded {
    /// Whether a rule set came out of it.
    pub fn is_good(&self) -> bool {
        self.set.is_some()
    }

    /// The errors without the warnings.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.level == Level::Error)
    }
}

/// Loads a folder's files (path inside the folder to text) as one rule set.
pub fn load(files: &BTreeMap<String, String>, env: &Env) -> Loaded {
    let draft = Shared::new(Draft::new(env.dimensions, env.bucket, env.retention));
    let mut engine = bare();
    for add in [sli::add, tier::add, slo::add, alert::add, receiver::add, route::add, calendar::add] {
        add(&mut engine, &draft);
    }
    query::add(&mut engine);
    let report = draft.clone();
    // `debug(x)` speaks to the author, at load; at an evaluation there is nobody to read it.
    engine.on_debug(move |text, source, at| {
        let mut draft = report.lock();
        if draft.open {
            draft.problems.warning(
                &super::source::place(source.unwrap_or_default(), at),
                format!("debug: {}", text.chars().take(500).collect::<String>()),
            );
        }
    });

    let mut problems = Problems::default();
    let mut sources: Vec<Source> = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".rhai")) {
        sources.push(parse(&engine, path, text, &mut problems));
    }
    let mut known =
        Known { functions: lint::functions_of(&engine), modules: BTreeMap::new(), dimensions: env.dimensions.iter().cloned().collect() };
    for source in sources.iter().filter(|source| source.usage == Use::Library) {
        let name = module_name(source, &mut problems);
        let mut functions = lint::defined(&source.ast);
        functions.extend(source.lost.iter().cloned());
        known.modules.insert(name, functions);
    }
    let mut named = Named::default();
    let mut missing = Missing::default();
    for source in &mut sources {
        let found = lint::check(source, &known, &mut problems, &mut named);
        missing.variables.extend(found.variables);
        missing.functions.extend(found.functions);
    }
    stand_in(&mut engine, &missing.functions);
    {
        let mut draft = draft.lock();
        draft.problems = problems;
        draft.open = true;
        for source in &mut sources {
            draft.shapes.insert(source.path.clone(), Arc::new(std::mem::take(&mut source.shapes)));
        }
    }
    let mut lost: BTreeSet<String> = sources.iter().flat_map(|source| source.lost.iter().cloned()).collect();
    let libraries = libraries(&mut engine, &sources, &draft);
    let started = Instant::now();
    for source in sources.iter().filter(|source| source.usage == Use::Declarations) {
        run(&engine, source, &missing.variables, &draft, &mut lost, started);
    }
    let mut draft = draft.take();
    finish(&mut draft, &lost, named, engine, &sources, libraries, files, env)
}

/// The last steps, once every file has run.
#[expect(clippy::too_many_arguments, reason = "the end of one long function, called once")]
fn finish(
    draft: &mut Draft,
    lost: &BTreeSet<String>,
    named: Named,
    engine: Engine,
    sources: &[Source],
    libraries: Vec<(String, Arced<Module>)>,
    files: &BTreeMap<String, String>,
    env: &Env,
) -> Loaded {
    template::add(draft, files);
    draft.set.routes = std::mem::take(&mut draft.routes).into_values().collect();
    references::check(draft, lost);
    references::secrets(draft, env.has_secret);
    let asts: BTreeMap<String, Arc<AST>> = sources.iter().map(|source| (source.path.clone(), Arc::clone(&source.ast))).collect();
    let around = Surroundings::new(draft.dimensions.clone(), draft.bucket, &draft.set.slos, draft.shapes.clone());
    let mut set = std::mem::take(&mut draft.set);
    let program = Program::new(engine, &set, std::mem::take(&mut draft.closures), &asts, &draft.shapes, around, libraries);
    let asked = dry_run::rehearse(&program, &set.alerts, draft);
    references::name(&mut set, named, &asked);
    set.revision = content_hash(files);
    let good = !draft.problems.has_errors();
    let problems = std::mem::take(&mut draft.problems).into_sorted();
    match good {
        true => Loaded { set: Some(set), program, problems },
        false => Loaded { set: None, program: Program::default(), problems },
    }
}

/// `lib/vitals.rhai` is seen as `vitals`.
fn module_name(source: &Source, problems: &mut Problems) -> String {
    let name = source.path.trim_start_matches("lib/").trim_end_matches(".rhai");
    let fine =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fine || name == "global" {
        let place = source.place(Position::NONE);
        problems.error(&place, format!("`{name}` cannot be the name of a module: it consists of letters, digits and `_`"));
    }
    name.to_owned()
}

/// Functions that nobody defined were reported; calls of them give a value that nobody complains about.
fn stand_in(engine: &mut Engine, functions: &BTreeSet<String>) {
    let broken = || Dynamic::from(Broken);
    for name in functions {
        let name = name.as_str();
        engine.register_fn(name, broken);
        engine.register_fn(name, move |_: Dynamic| broken());
        engine.register_fn(name, move |_: Dynamic, _: Dynamic| broken());
        engine.register_fn(name, move |_: Dynamic, _: Dynamic, _: Dynamic| broken());
        engine.register_fn(name, move |_: Dynamic, _: Dynamic, _: Dynamic, _: Dynamic| broken());
        engine.register_fn(name, move |_: Dynamic, _: Dynamic, _: Dynamic, _: Dynamic, _: Dynamic| broken());
    }
}

/// Makes the modules of `lib/`. Closures see them after loading because they belong to the engine (TECH 2.4).
fn libraries(engine: &mut Engine, sources: &[Source], draft: &Shared) -> Vec<(String, Arced<Module>)> {
    let mut modules = Vec::new();
    for source in sources.iter().filter(|source| source.usage == Use::Library) {
        let name = source.path.trim_start_matches("lib/").trim_end_matches(".rhai").to_owned();
        match within_budget(AT_LOAD, || Module::eval_ast_as_new(Scope::new(), &source.ast, engine)) {
            Ok(mut module) => {
                module.set_id(source.path.as_str());
                let module: Arced<Module> = module.into();
                engine.register_static_module(&name, Arced::clone(&module));
                modules.push((name, module));
            }
            Err(error) => report(&error, source, draft),
        }
    }
    modules
}

/// Runs a file, one statement at a time, so that a failing one costs only itself.
fn run(engine: &Engine, source: &Source, undefined: &BTreeSet<String>, draft: &Shared, lost: &mut BTreeSet<String>, started: Instant) {
    let mut scope = Scope::new();
    // Below everything that the file defines: found by name only.
    for name in undefined {
        scope.push_dynamic(name.as_str(), Dynamic::from(Broken));
    }
    for statement in source.ast.statements() {
        if started.elapsed() > LOAD_MAX {
            draft
                .lock()
                .problems
                .error(&source.place(statement.position()), format!("loading takes longer than {} seconds", LOAD_MAX.as_secs()));
            return;
        }
        let mut one = AST::new_with_source([statement.clone()], source.ast.shared_lib().clone(), source.path.as_str());
        one.set_source(source.path.as_str());
        let depth = scope.len();
        let result = within_budget(AT_LOAD, || engine.eval_ast_with_scope::<Dynamic>(&mut scope, &one));
        let Err(error) = result else { continue };
        report(&error, source, draft);
        lost.extend(source.names_in_block(statement.position().line().unwrap_or(1)));
        // Later statements count variables from the top: the one that was to be defined must be there.
        scope.rewind(depth);
        if let Stmt::Var(var, ..) = statement {
            scope.push_dynamic(var.0.name.as_str(), Dynamic::from(Broken));
        }
    }
}

/// Reports why a script stopped, unless it stopped at something that was reported already.
fn report(error: &EvalAltResult, source: &Source, draft: &Shared) {
    let (inner, file, at) = innermost(error);
    let path = file.filter(|file| file.ends_with(".rhai")).unwrap_or(&source.path);
    let at = super::source::place(path, at);
    let mut draft = draft.lock();
    let unknown = matches!(
        inner,
        EvalAltResult::ErrorVariableNotFound(..) | EvalAltResult::ErrorModuleNotFound(..) | EvalAltResult::ErrorFunctionNotFound(..)
    );
    let follows = unknown && draft.problems.errors.contains(&at) || of_broken_module(inner, &draft.problems);
    let broken = message_mentions_broken(inner) && draft.problems.has_errors();
    if follows || broken {
        draft.problems.errors.insert(Place { ..at });
        return;
    }
    draft.problems.error(&at, message_of(inner));
}

/// Whether a function is missing because its module does not parse, which was reported.
fn of_broken_module(error: &EvalAltResult, problems: &Problems) -> bool {
    let EvalAltResult::ErrorFunctionNotFound(signature, _) = error else { return false };
    let Some((module, _)) = signature.split_once("::") else { return false };
    let path = format!("lib/{module}.rhai");
    problems.errors.iter().any(|place| place.path == path)
}

/// A stand-in went into an operation that knows nothing of it; what it stands for was reported.
fn message_mentions_broken(error: &EvalAltResult) -> bool {
    error.to_string().contains("value::Broken")
}
