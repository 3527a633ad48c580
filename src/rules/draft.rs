//! The rule set while it is being declared: what constructors write into.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Engine, FnPtr, NativeCallContext, Position};

use super::engine::Outcome;
use super::problem::Problems;
use super::shape::Shapes;
use super::source::place;
use super::value::{Broken, Value};
use crate::domain::rule::{Place, Route, RuleSet};
use crate::domain::time::Span;

/// Rules of each kind that one folder may declare.
const DECLARATIONS_MAX: usize = 50_000;

/// What the closures of a free-form rule are.
#[derive(Clone, Debug)]
pub(super) struct Closures {
    /// The file whose functions they see.
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) when: FnPtr,
    pub(super) severity: Option<FnPtr>,
    pub(super) summary: Option<FnPtr>,
}

/// Everything that was declared so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) problems: Problems,
    pub(super) set: RuleSet,
    pub(super) closures: BTreeMap<String, Closures>,
    /// Secrets that receivers name, with the place of each.
    pub(super) secrets: Vec<(String, Place)>,
    /// Routes by number; a nested one is taken out again by its parent.
    pub(super) routes: BTreeMap<usize, Route>,
    /// Places of list items that refer to something by name, checked once all is declared.
    pub(super) references: Vec<Reference>,
    pub(super) shapes: HashMap<String, Arc<Shapes>>,
    /// Configured dimensions.
    pub(super) dimensions: BTreeSet<String>,
    pub(super) bucket: Span,
    pub(super) retention: Span,
    names: HashMap<(&'static str, String), Place>,
    declared: usize,
    next_route: usize,
    /// Declarations are made at load, never by a closure at an evaluation.
    pub(super) open: bool,
}

/// A name of something that is declared elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) kind: RefersTo,
    pub(super) name: String,
    pub(super) at: Place,
}

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RefersTo {
    Receiver,
    TimeInterval,
    Slo,
    Template,
}

impl RefersTo {
    /// As it is called in messages and where names are declared.
    pub(super) const fn name(self) -> &'static str {
        match self {
            RefersTo::Receiver => "receiver",
            RefersTo::TimeInterval => "time interval",
            RefersTo::Slo => "SLO",
            RefersTo::Template => "template",
        }
    }
}

impl Draft {
    pub(super) fn new(dimensions: &[String], bucket: Span, retention: Span) -> Draft {
        Draft { dimensions: dimensions.iter().cloned().collect(), bucket, retention, ..Draft::default() }
    }

    /// Remembers a name; a second declaration of the same kind and name is reported.
    pub(super) fn declare(&mut self, kind: &'static str, name: &str, at: &Place) {
        self.declared += 1;
        if self.declared == DECLARATIONS_MAX {
            self.problems.error(at, format!("a rules folder may declare at most {DECLARATIONS_MAX} things"));
        }
        // The state of an alert is kept by the name of what it is about, whichever of the two that is.
        let other = match kind {
            "SLO" => Some("alert"),
            "alert" => Some("SLO"),
            _ => None,
        };
        if let Some((other, first)) = other.and_then(|other| Some((other, self.names.get(&(other, name.to_owned()))?))) {
            let message = format!("{kind} `{name}` has the name of the {other} at {first}; their alerts could not be told apart");
            self.problems.error(at, message);
        }
        match self.names.get(&(kind, name.to_owned())) {
            Some(first) => {
                let message = format!("{kind} `{name}` is declared twice; the first one is at {first}");
                self.problems.error(at, message);
            }
            None => {
                self.names.insert((kind, name.to_owned()), at.clone());
            }
        }
    }

    /// The names of a kind, also of what was declared with errors.
    pub(super) fn declared_names(&self, kind: &str) -> BTreeSet<String> {
        self.names.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Whether there is room for another declaration.
    pub(super) fn has_room(&self) -> bool {
        self.declared < DECLARATIONS_MAX
    }

    pub(super) fn refer(&mut self, kind: RefersTo, names: &[(String, Place)]) {
        self.references.extend(names.iter().map(|(name, at)| Reference { kind, name: name.clone(), at: at.clone() }));
    }

    pub(super) fn add_route(&mut self, route: Route) -> usize {
        self.next_route += 1;
        self.routes.insert(self.next_route, route);
        self.next_route
    }

    /// Whether windows of this length consist of whole buckets; if not, it is reported.
    pub(super) fn check_whole_buckets(&mut self, what: &str, span: Span, at: &Place) -> bool {
        let fine = span.0 > 0 && span.0 % self.bucket.0 == 0;
        if !fine {
            let message = format!("{what} must be whole buckets of {}, not {span}", self.bucket);
            self.problems.error(at, message);
        }
        fine
    }
}

/// A draft that constructors share.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Draft>>);

impl Shared {
    pub(super) fn new(draft: Draft) -> Shared {
        Shared(Arc::new(Mutex::new(draft)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Draft> {
        // A constructor that panicked has reported nothing yet; what it left is still a list of values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything out; whatever still holds the draft finds it closed.
    pub(super) fn take(&self) -> Draft {
        std::mem::take(&mut *self.lock())
    }
}

/// One call of a constructor: its arguments and where it stands.
pub(super) struct Call {
    pub(super) at: Place,
    path: String,
    position: Position,
    args: Vec<Dynamic>,
    shapes: Arc<Shapes>,
}

impl Call {
    /// Argument `index`, called `name` in messages; absent ones are `()`.
    pub(super) fn arg(&mut self, index: usize, name: &str) -> Value {
        let it = self.args.get_mut(index).map(std::mem::take).unwrap_or_default();
        Value::argument(it, name, &self.path, self.position, index, &self.shapes)
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.args.len() > index
    }

    /// The file whose functions the arguments' closures see.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// A constructor: writes into the draft, gives a value.
pub(super) type Constructor = fn(&mut Draft, Call) -> Dynamic;

/// Registers a constructor for each of these numbers of arguments.
pub(super) fn register(engine: &mut Engine, draft: &Shared, name: &'static str, arities: &[usize], make: Constructor) {
    // A call with too few or too many arguments is reported; what it stands in is read on.
    for arity in (0..=4).filter(|arity| !arities.contains(arity)) {
        let draft = draft.clone();
        let wrong = move |ctx: NativeCallContext| -> Outcome<Dynamic> {
            let mut draft = draft.lock();
            if !draft.open {
                return Err(usage(name).unwrap_or_default().into());
            }
            let at = place(ctx.call_source().unwrap_or_default(), ctx.call_position());
            draft.problems.error(&at, usage(name).unwrap_or_else(|| format!("`{name}` does not take so many arguments")));
            Ok(Dynamic::from(Broken))
        };
        match arity {
            0 => engine.register_fn(name, move |ctx: NativeCallContext| wrong(ctx)),
            1 => engine.register_fn(name, move |ctx: NativeCallContext, _: Dynamic| wrong(ctx)),
            2 => engine.register_fn(name, move |ctx: NativeCallContext, _: Dynamic, _: Dynamic| wrong(ctx)),
            3 => engine.register_fn(name, move |ctx: NativeCallContext, _: Dynamic, _: Dynamic, _: Dynamic| wrong(ctx)),
            _ => engine.register_fn(name, move |ctx: NativeCallContext, _: Dynamic, _: Dynamic, _: Dynamic, _: Dynamic| wrong(ctx)),
        };
    }
    for arity in arities {
        let draft = draft.clone();
        let run = move |ctx: NativeCallContext, args: Vec<Dynamic>| -> Outcome<Dynamic> {
            let mut draft = draft.lock();
            if !draft.has_room() {
                return Err("the folder declares too much".into());
            }
            if !draft.open {
                return Err(format!("`{name}` declares something, which is done at load and not in a closure").into());
            }
            let path = ctx.call_source().unwrap_or_default().to_owned();
            let position = ctx.call_position();
            let shapes = draft.shapes.get(&path).cloned().unwrap_or_default();
            let call = Call { at: place(&path, position), path, position, args, shapes };
            Ok(make(&mut draft, call))
        };
        match arity {
            0 => engine.register_fn(name, move |ctx: NativeCallContext| run(ctx, vec![])),
            1 => engine.register_fn(name, move |ctx: NativeCallContext, a: Dynamic| run(ctx, vec![a])),
            2 => engine.register_fn(name, move |ctx: NativeCallContext, a: Dynamic, b: Dynamic| run(ctx, vec![a, b])),
            3 => engine.register_fn(name, move |ctx: NativeCallContext, a: Dynamic, b: Dynamic, c: Dynamic| run(ctx, vec![a, b, c])),
            _ => engine.register_fn(name, move |ctx: NativeCallContext, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic| {
                run(ctx, vec![a, b, c, d])
            }),
        };
    }
}

/// What a constructor takes, for a call that does not fit.
pub(super) fn usage(name: &str) -> Option<String> {
    let takes = match name {
        "slo" => "slo(\"name\", #{ objective, sli, … })",
        "alert" => "alert(\"name\", #{ when: |q| …, … })",
        "page" | "ticket" | "info" => "a map: #{ long, short, factor, … }",
        "burn_rate" => "nothing, or \"3x15m\"",
        "good" => "good(metric, where)",
        "within" | "below" => "a metric, a limit and a where: within(\"lcp\", 2500, #{ … })",
        "count" => "count(metric, where)",
        "ratio" => "ratio(count(metric, where), count(metric, where))",
        "slices" => "slices(sli, \"1m\", 95.0, #{ empty: \"skip\" })",
        "composite" => "composite([names], \"worst\" | \"weighted\", [weights])",
        "external" => "external(source, query)",
        "receiver" => "receiver(\"name\", webhook(#{ … }))",
        "secret" => "secret(\"NAME\")",
        "route" | "inhibit" | "alerts_in" => "one map: #{ … }",
        "maintenance" | "silence" | "time_interval" => "a name and a map: (\"name\", #{ … })",
        "webhook"
        | "email"
        | "pagerduty"
        | "opsgenie"
        | "slack"
        | "teams"
        | "jira"
        | "github"
        | "servicenow"
        | "alertmanager_webhook"
        | "action" => "one map: #{ … }",
        _ => return None,
    };
    Some(format!("`{name}` does not take these arguments; it takes {takes}"))
}
