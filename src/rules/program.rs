//! The closures of a loaded rule set, ready to be asked at each evaluation.
//!
//! A rule that fails, loops or panics costs only itself. The same history gives the same verdicts:
//! closures get what they captured at load, and what they change of it is gone after each run.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rhai::{AST, Dynamic, Engine, EvalAltResult, FnPtr, Position};

use super::draft::Closures;
use super::engine::{AT_EVALUATION, describe, innermost, message_of, within_budget};
use super::problem::Problem;
use super::query::{Asked, NothingMeasured, Query, Surroundings};
use super::script::{self, Test};
use super::shape::Shapes;
use super::source::place;
use super::value::Broken;
use crate::domain::measure::Measure;
use crate::domain::rule::{Labels, Place, RuleSet, Severity};
use crate::domain::time::Span;

/// What a rule found at one evaluation, for one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A query found nothing measured; the text says which.
    Unknown(String),
    /// `when` gave false.
    Clear,
    /// `when` gave true. `summary` is empty where the rule has none.
    Holds { severity: Severity, summary: String },
}

/// A rule that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct RuleError {
    pub place: Place,
    pub message: String,
}

/// A file of tests: parsed, not run.
#[derive(Clone, Debug)]
pub(super) struct TestScript {
    pub(super) path: String,
    pub(super) ast: Arc<AST>,
    /// Where everything in it stands.
    pub(super) shapes: Arc<Shapes>,
}

struct Rule {
    closures: Closures,
    severity: Severity,
    summary: String,
    ast: Arc<AST>,
}

/// Everything of a rule set that is code.
#[derive(Default)]
pub struct Program {
    engine: Option<Arc<Engine>>,
    rules: BTreeMap<String, Rule>,
    around: Arc<Surroundings>,
    tests: Vec<TestScript>,
    libraries: Vec<(String, rhai::Shared<rhai::Module>)>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("rules", &self.rules.keys()).finish_non_exhaustive()
    }
}

impl Program {
    pub(super) fn new(
        engine: Engine,
        set: &RuleSet,
        closures: BTreeMap<String, Closures>,
        asts: &BTreeMap<String, Arc<AST>>,
        shapes: &HashMap<String, Arc<Shapes>>,
        around: Surroundings,
        libraries: Vec<(String, rhai::Shared<rhai::Module>)>,
    ) -> Program {
        let mut rules = BTreeMap::new();
        for rule in &set.alerts {
            let Some(closures) = closures.get(&rule.name) else { continue };
            let ast = asts.get(&closures.path).cloned().unwrap_or_default();
            let rule_ = Rule { closures: closures.clone(), severity: rule.severity, summary: rule.summary.clone(), ast };
            rules.insert(rule.name.clone(), rule_);
        }
        let tests = asts
            .iter()
            .filter(|(path, _)| path.ends_with("_test.rhai"))
            .map(|(path, ast)| TestScript {
                path: path.clone(),
                ast: Arc::clone(ast),
                shapes: shapes.get(path).cloned().unwrap_or_default(),
            })
            .collect();
        Program { engine: Some(Arc::new(engine)), rules, around: Arc::new(around), tests, libraries }
    }

    /// Whether a rule of this name can be asked.
    pub fn has(&self, rule: &str) -> bool {
        self.rules.contains_key(rule)
    }

    /// Asks one rule for one group (its `by` dimensions; empty without `by`).
    ///
    /// Filters are narrowed to the group here, before `q` sees them.
    pub fn ask(&self, rule: &str, group: &Labels, q: Arc<dyn Measure>) -> Result<Verdict, RuleError> {
        self.run(rule, Query::new(q, Arc::clone(&self.around), Arc::new(group.clone())))
    }

    /// As [`Program::ask`], but remembers which metrics and dimensions were asked for.
    pub(super) fn rehearse(
        &self,
        rule: &str,
        group: &Labels,
        q: Arc<dyn Measure>,
        asked: &Arc<Mutex<Asked>>,
    ) -> Result<Verdict, RuleError> {
        let path = self.rules.get(rule).map_or("", |rule| rule.closures.path.as_str());
        let query = Query::new(q, Arc::clone(&self.around), Arc::new(group.clone())).recording(path, Arc::clone(asked));
        self.run(rule, query)
    }

    /// The severity and summary closures by themselves: a dry run asks them whatever `when` said.
    pub(super) fn rehearse_words(
        &self,
        rule: &str,
        group: &Labels,
        q: &Arc<dyn Measure>,
        asked: &Arc<Mutex<Asked>>,
    ) -> Result<(), RuleError> {
        let Some(found) = self.rules.get(rule) else { return Ok(()) };
        let query =
            Query::new(Arc::clone(q), Arc::clone(&self.around), Arc::new(group.clone())).recording(&found.closures.path, Arc::clone(asked));
        guarded(&found.closures.place, || {
            self.severity(found, &query)?;
            self.summary(found, &query)
        })
        .map(|_: Answered<String>| ())
    }

    fn run(&self, rule: &str, query: Query) -> Result<Verdict, RuleError> {
        let Some(found) = self.rules.get(rule) else {
            return Err(RuleError { place: Place::default(), message: format!("there is no rule `{rule}` in this rule set") });
        };
        let answered = guarded(&found.closures.place, || {
            let holds = match self.call(found, &found.closures.when, &query)? {
                // Only in a dry run of rules with errors: what it stands for was reported.
                Answered::Value(value) if value.is::<Broken>() => false,
                Answered::Value(value) => value.as_bool().map_err(|_| RuleError {
                    place: found.closures.place.clone(),
                    message: format!("`when` of `{rule}` gave {}; it must give true or false", describe(&value)),
                })?,
                Answered::Nothing(what) => return Ok(Answered::Nothing(what)),
            };
            if !holds {
                return Ok(Answered::Value(Verdict::Clear));
            }
            let severity = match self.severity(found, &query)? {
                Answered::Value(severity) => severity,
                Answered::Nothing(what) => return Ok(Answered::Nothing(what)),
            };
            // A summary that cannot be made must not cost the alert.
            let summary = match self.summary(found, &query) {
                Ok(Answered::Value(summary)) => summary,
                Ok(Answered::Nothing(_)) | Err(_) => String::new(),
            };
            Ok(Answered::Value(Verdict::Holds { severity, summary }))
        })?;
        Ok(match answered {
            Answered::Value(verdict) => verdict,
            Answered::Nothing(what) => Verdict::Unknown(what),
        })
    }

    fn severity(&self, rule: &Rule, query: &Query) -> Result<Answered<Severity>, RuleError> {
        let Some(closure) = &rule.closures.severity else { return Ok(Answered::Value(rule.severity)) };
        let value = match self.call(rule, closure, query)? {
            Answered::Value(value) => value,
            Answered::Nothing(what) => return Ok(Answered::Nothing(what)),
        };
        let text = value.clone().into_string().ok();
        match text.as_deref().and_then(Severity::parse) {
            Some(severity) => Ok(Answered::Value(severity)),
            None => {
                let given = text.map_or_else(|| describe(&value), |text| format!("`{}`", text.chars().take(40).collect::<String>()));
                Err(RuleError {
                    place: rule.closures.place.clone(),
                    message: format!("`severity` gave {given}; it must give \"page\", \"ticket\" or \"info\""),
                })
            }
        }
    }

    fn summary(&self, rule: &Rule, query: &Query) -> Result<Answered<String>, RuleError> {
        let Some(closure) = &rule.closures.summary else { return Ok(Answered::Value(rule.summary.clone())) };
        Ok(match self.call(rule, closure, query)? {
            Answered::Value(value) => match value.clone().into_string() {
                Ok(text) => Answered::Value(text.chars().filter(|c| !c.is_control()).take(1_000).collect()),
                Err(_) => {
                    let message = format!("`summary` gave {}; it must give a text", describe(&value));
                    return Err(RuleError { place: rule.closures.place.clone(), message });
                }
            },
            Answered::Nothing(what) => Answered::Nothing(what),
        })
    }

    fn call(&self, rule: &Rule, closure: &FnPtr, query: &Query) -> Result<Answered<Dynamic>, RuleError> {
        let Some(engine) = &self.engine else { return Ok(Answered::Nothing("the rule set has errors".into())) };
        let result = within_budget(AT_EVALUATION, || closure.call::<Dynamic>(engine, &rule.ast, (query.clone(),)));
        let error = match result {
            Ok(value) => return Ok(Answered::Value(value.flatten())),
            Err(error) => error,
        };
        let (inner, source, at) = innermost(&error);
        if let EvalAltResult::ErrorTerminated(token, _) = inner
            && let Some(NothingMeasured(what)) = token.clone().try_cast::<NothingMeasured>()
        {
            return Ok(Answered::Nothing(what));
        }
        Err(RuleError { place: self.error_place(rule, source, at), message: message_of(inner) })
    }

    fn error_place(&self, rule: &Rule, source: Option<&str>, at: Position) -> Place {
        if at.is_none() {
            return rule.closures.place.clone();
        }
        let path = source.filter(|source| source.ends_with(".rhai")).unwrap_or(&rule.closures.path);
        place(path, at)
    }

    /// The tests of the rule set, written down but not run, and what is wrong with their files.
    ///
    /// They run under the limits of loading, on an engine that knows the `lib` modules and nothing else of the rules.
    pub fn tests(&self, set: &RuleSet) -> (Vec<Test>, Vec<Problem>) {
        script::tests(&self.tests, self.test_engine(), set, &self.around.dimensions, self.around.bucket)
    }

    /// How long a bucket is where these rules run.
    pub fn bucket(&self) -> Span {
        self.around.bucket
    }

    fn test_engine(&self) -> Engine {
        let mut engine = super::engine::bare();
        for (name, module) in &self.libraries {
            engine.register_static_module(name, rhai::Shared::clone(module));
        }
        engine
    }
}

/// What a closure came to.
enum Answered<T> {
    Value(T),
    /// A query found nothing measured.
    Nothing(String),
}

/// A panic below costs this rule's verdict and nothing else.
fn guarded<T>(place: &Place, run: impl FnOnce() -> Result<Answered<T>, RuleError>) -> Result<Answered<T>, RuleError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(RuleError { place: place.clone(), message: "the rule panicked; this is a fault of burnwatch".into() }))
}
