//! What can be said about a file without running it: unknown names, captured variables, slips of
//! arithmetic, and the `where`s of queries in closures.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, Module, Position, Stmt};

use super::problem::{Problems, clip, hint};
use super::sli::{has_dimension, no_dimension, no_metric};
use super::source::{Source, Use};
use super::{query, script};
use crate::domain::metric::Metric;
use crate::domain::time::Span;

/// What every file may use.
pub(super) struct Known {
    /// Functions of the engine.
    pub(super) functions: BTreeSet<String>,
    /// Modules of `lib/` and their functions.
    pub(super) modules: BTreeMap<String, BTreeSet<String>>,
    pub(super) dimensions: BTreeSet<String>,
}

/// Names that a file uses and nobody defines: stand-ins let the rest of the file be read.
#[derive(Debug, Default)]
pub(super) struct Missing {
    pub(super) variables: BTreeSet<String>,
    pub(super) functions: BTreeSet<String>,
}

/// Dimensions and values that queries in closures name.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) values: BTreeMap<String, BTreeSet<String>>,
}

/// Functions that the language itself knows.
const KEYWORDS: [&str; 14] = [
    "Fn",
    "call",
    "curry",
    "is_shared",
    "is_def_var",
    "is_def_fn",
    "type_of",
    "print",
    "debug",
    "this",
    "to_string",
    "to_debug",
    "is_anonymous",
    "name",
];

/// Methods that change what they are called on.
const CHANGING: [&str; 24] = [
    "push",
    "append",
    "insert",
    "pop",
    "shift",
    "remove",
    "truncate",
    "chop",
    "clear",
    "set",
    "drain",
    "retain",
    "splice",
    "sort",
    "reverse",
    "dedup",
    "pad",
    "mixin",
    "fill_with",
    "crop",
    "replace",
    "trim",
    "make_upper",
    "make_lower",
];

/// The names of all functions that an engine has.
pub(super) fn functions_of(engine: &Engine) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        engine.collect_fn_metadata(None, |info| Some(info.metadata.name.to_string()), true).into_iter().collect();
    names.extend(KEYWORDS.map(str::to_owned));
    names
}

/// The functions that a file defines by name.
pub(super) fn defined(ast: &AST) -> BTreeSet<String> {
    ast.iter_functions().map(|function| function.name.to_owned()).filter(|name| !name.contains('$')).collect()
}

/// Reads a file's tree: reports what is wrong, and notes where calls are written.
pub(super) fn check(source: &mut Source, known: &Known, problems: &mut Problems, named: &mut Named) -> Missing {
    let ast = std::sync::Arc::clone(&source.ast);
    let mut takes: HashMap<String, BTreeSet<usize>> = HashMap::new();
    for function in ast.iter_functions() {
        takes.entry(function.name.to_owned()).or_default().insert(function.params.len());
    }
    let mut reader = Reader {
        own: defined(&ast),
        takes,
        keys: HashSet::new(),
        captured: HashMap::new(),
        calls: Vec::new(),
        missing: Missing::default(),
        source,
        known,
        problems,
        named,
    };
    // The walk over a whole file goes into function bodies without saying whose they are.
    reader.statements(&ast.clone_statements_only(), &[], false);
    let lib = ast.shared_lib();
    let functions: Vec<_> = lib.iter_script_fn_info().map(|(.., function)| function.clone()).collect();
    for function in &functions {
        let mut module = Module::new();
        module.set_script_fn(function.clone());
        let body = AST::new(std::iter::empty::<Stmt>(), module);
        let captured = reader.captured.get(function.name.as_str()).cloned().unwrap_or_default();
        let params: Vec<&str> = function.params.iter().map(AsRef::as_ref).collect();
        reader.captures_of(&params, &captured, &body);
        reader.statements(&body, &params, !function.name.contains('$'));
    }
    reader.report_calls();
    reader.missing
}

struct Reader<'a> {
    own: BTreeSet<String>,
    /// How many values the functions of the file take.
    takes: HashMap<String, BTreeSet<usize>>,
    /// Keys of all maps in the file: a key may hold a function that is called like a method.
    keys: HashSet<String>,
    /// Captured variables by the name of the closure.
    captured: HashMap<String, BTreeSet<String>>,
    calls: Vec<(String, usize, bool, Position)>,
    missing: Missing,
    source: &'a mut Source,
    known: &'a Known,
    problems: &'a mut Problems,
    named: &'a mut Named,
}

impl Reader<'_> {
    fn error(&mut self, at: Position, message: String) {
        self.problems.error(&self.source.place(at), message);
    }

    fn statements(&mut self, ast: &AST, params: &[&str], function: bool) {
        // `let`s seen so far, for loop variables that were copied under their own name.
        let mut copied: Vec<(String, Position)> = Vec::new();
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(var, _, at))) => {
                    copied.push((var.0.name.to_string(), *at));
                    self.source.shapes.add_variable(&var.0.name, &var.1);
                }
                Some(ASTNode::Stmt(Stmt::FnCall(call, at))) => self.call(call, *at, false),
                Some(ASTNode::Stmt(Stmt::Share(shared))) => {
                    for (ident, index) in shared.iter() {
                        self.captured_variable(path, &ident.name, ident.pos, &copied);
                        if index.is_none() && !params.contains(&ident.name.as_str()) {
                            self.undefined(&ident.name, ident.pos, function);
                        }
                    }
                }
                Some(ASTNode::Expr(Expr::FnCall(call, at))) => self.call(call, *at, false),
                Some(ASTNode::Expr(Expr::MethodCall(call, at))) => self.call(call, *at, true),
                Some(ASTNode::Expr(Expr::Map(parts, _))) => self.keys.extend(parts.0.iter().map(|(key, _)| key.name.to_string())),
                Some(ASTNode::Expr(Expr::Variable(parts, short, at))) => {
                    let (index, name, namespace, _) = &**parts;
                    if !namespace.is_empty() {
                        self.module_known(namespace.root(), namespace.position());
                    } else if index.is_none() && short.is_none() && !params.contains(&name.as_str()) {
                        self.undefined(name, *at, function);
                    }
                }
                _ => {}
            }
            true
        });
    }

    /// A variable that nobody defines. The name of a function is a value as well.
    fn undefined(&mut self, name: &str, at: Position, function: bool) {
        if self.own.contains(name) {
            return;
        }
        if self.source.lost.contains(name) {
            self.missing.variables.insert(name.to_owned());
            return;
        }
        let near = hint(name, self.own.iter().map(String::as_str));
        let why = if function { "; a function sees only its parameters" } else { near.as_str() };
        let message = format!("there is no variable `{name}`{why}");
        self.error(at, message);
        self.missing.variables.insert(name.to_owned());
    }

    fn module_known(&mut self, root: &str, at: Position) -> bool {
        if root == "global" || self.known.modules.contains_key(root) {
            return true;
        }
        let near = hint(root, self.known.modules.keys().map(String::as_str));
        self.error(at, format!("there is no module `{root}`: modules are the files lib/NAME.rhai{near}"));
        false
    }

    fn call(&mut self, call: &FnCallExpr, at: Position, method: bool) {
        if call.op_token.is_some() {
            self.division(call, at);
            return;
        }
        if call.name == "curry" && !method {
            // This is how the parser writes down what a closure captures.
            if let Some(Expr::DynamicConstant(closure, _)) = call.args.first()
                && let Some(closure) = closure.read_lock::<rhai::FnPtr>()
            {
                let names = call.args[1..].iter().filter_map(|arg| match arg {
                    Expr::Variable(parts, ..) => Some(parts.1.to_string()),
                    _ => None,
                });
                self.captured.entry(closure.fn_name().to_owned()).or_default().extend(names);
                return;
            }
        }
        self.source.shapes.add_call(at, &call.args);
        if !call.namespace.is_empty() {
            let root = call.namespace.root().to_owned();
            if self.module_known(&root, call.namespace.position())
                && let Some(functions) = self.known.modules.get(&root)
                && !functions.contains(call.name.as_str())
            {
                let near = hint(&call.name, functions.iter().map(String::as_str));
                self.error(at, format!("there is no function `{}` in lib/{root}.rhai{near}", call.name));
            }
            return;
        }
        if call.name == "print" {
            let place = self.source.place(at);
            self.problems.warning(&place, "nobody reads what rules print; `debug(x)` writes to the report of `check`");
        }
        if method && query::NAMES.contains(&call.name.as_str()) {
            self.query(call, at);
        }
        self.calls.push((call.name.to_string(), call.args.len(), method, at));
    }

    /// Calls are judged once every map key of the file is known.
    fn report_calls(&mut self) {
        for (name, given, method, at) in std::mem::take(&mut self.calls) {
            // `x.f()` is `f(x)` of some kinds of values, and a function of the engine may have the same name.
            if let Some(takes) = self.takes.get(&name)
                && !method
                && !takes.contains(&given)
                && !self.known.functions.contains(&name)
            {
                let takes: Vec<String> = takes.iter().map(usize::to_string).collect();
                let values = |text: &str| if text == "1" { "value" } else { "values" };
                let (takes, given) = (takes.join(" or "), given.to_string());
                self.error(at, format!("`{name}` takes {takes} {}, and gets {given}", values(&takes)));
                continue;
            }
            let fine = self.known.functions.contains(&name)
                || self.own.contains(&name)
                || self.source.lost.contains(&name)
                || method && self.keys.contains(&name)
                || method && self.source.usage == Use::Test && script::METHODS.contains(&name.as_str())
                || self.source.usage == Use::Test && name == "test";
            if fine {
                if self.source.lost.contains(&name) {
                    self.missing.functions.insert(name);
                }
                continue;
            }
            let message = if method {
                let of_object: &[&str] = if self.source.usage == Use::Test { &script::METHODS } else { &query::NAMES };
                let near = hint(&name, of_object.iter().copied());
                let near = if near.is_empty() { hint(&name, self.known.functions.iter().map(String::as_str)) } else { near };
                format!("there is no method `{name}`{near}")
            } else {
                let candidates = self.own.iter().chain(&self.known.functions).map(String::as_str);
                match self.source.usage == Use::Test && script::METHODS.contains(&name.as_str()) {
                    true => format!("`{name}` is a method of the test: t.{name}(…)"),
                    false => format!("there is no function `{name}`{}", hint(&name, candidates)),
                }
            };
            self.error(at, message);
            self.missing.functions.insert(name);
        }
    }

    /// `99 / 100` is 0 in rhai.
    fn division(&mut self, call: &FnCallExpr, at: Position) {
        if call.name == "/"
            && let [Expr::IntegerConstant(a, _), Expr::IntegerConstant(b, _)] = call.args.as_slice()
            && *b != 0
            && a % b != 0
        {
            let message = format!("{a} / {b} is {}, because whole numbers divide to whole numbers; write {a}.0 / {b}.0", a / b);
            self.problems.warning(&self.source.place(at), message);
        }
    }

    /// A closure gets a loop variable as it stands in the end, not as it is in its turn of the loop.
    fn captured_variable(&mut self, path: &[ASTNode], name: &str, at: Position, copied: &[(String, Position)]) {
        for node in path {
            let ASTNode::Stmt(Stmt::For(parts, start)) = node else { continue };
            let loops = parts.0.name == name || parts.1.as_ref().is_some_and(|counter| counter.name == name);
            if loops && !copied.iter().any(|(copy, copied_at)| copy == name && copied_at > start && *copied_at < at) {
                self.error(at, format!("the closure captures the loop variable `{name}`, which changes under it; copy it first: `let this_{name} = {name};`"));
            }
        }
    }

    /// Changes to captured variables would be lost at the next evaluation.
    fn captures_of(&mut self, params: &[&str], captured: &BTreeSet<String>, body: &AST) {
        if captured.is_empty() {
            return;
        }
        let outer = |expr: &Expr| -> Option<(String, Position)> {
            let mut expr = expr;
            while let Expr::Dot(parts, ..) | Expr::Index(parts, ..) = expr {
                expr = &parts.lhs;
            }
            match expr {
                // What a closure defines itself has an index; what it captured is found by its name.
                Expr::Variable(parts, None, at)
                    if parts.0.is_none() && captured.contains(parts.1.as_str()) && params.contains(&parts.1.as_str()) =>
                {
                    Some((parts.1.to_string(), *at))
                }
                _ => None,
            }
        };
        let mut found = Vec::new();
        body.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Assignment(parts))) => found.extend(outer(&parts.1.lhs)),
                Some(ASTNode::Expr(Expr::Dot(parts, ..))) => {
                    if let Expr::MethodCall(call, _) = &parts.rhs
                        && CHANGING.contains(&call.name.as_str())
                    {
                        found.extend(outer(&parts.lhs));
                    }
                }
                _ => {}
            }
            true
        });
        for (name, at) in found {
            self.error(at, format!("the closure changes `{name}`, which it captured: rules keep nothing from one evaluation to the next; use a variable of its own"));
        }
    }

    /// Metric, `where` and window of a query are checked where they are literals, also in branches that no dry run takes.
    fn query(&mut self, call: &FnCallExpr, at: Position) {
        let metric = match call.args.first() {
            Some(Expr::StringConstant(name, _)) => Metric::parse(name),
            _ => None,
        };
        self.query_texts(call, at);
        for arg in call.args.iter() {
            let Expr::Map(parts, _) = arg else { continue };
            for (key, value) in &parts.0 {
                if call.name == "changes" {
                    if !query::CHANGE_KEYS.contains(&key.name.as_str()) {
                        let near = hint(&key.name, query::CHANGE_KEYS);
                        self.error(key.pos, format!("changes have no `{}`{near}; they have kind, app and release", key.name));
                        self.problems.errors.insert(self.source.place(at));
                    }
                    continue;
                }
                if let Some(metric) = &metric
                    && !has_dimension(metric, &key.name, &self.known.dimensions)
                {
                    let message = no_dimension(metric, &key.name, &self.known.dimensions);
                    self.error(key.pos, message);
                    // The dry run would complain at the call as well.
                    self.problems.errors.insert(self.source.place(at));
                    continue;
                }
                let values = self.named.values.entry(key.name.to_string()).or_default();
                for value in match value {
                    Expr::Array(items, _) => items.iter().collect::<Vec<_>>(),
                    one => vec![one],
                } {
                    if let Expr::StringConstant(text, _) = value
                        && let Ok(condition) = crate::domain::filter::Match::parse(text)
                    {
                        values.extend(condition.named_values().into_iter().cloned());
                    }
                }
            }
        }
    }

    /// The first argument of a query is mostly a metric, and the last one of several a window.
    fn query_texts(&mut self, call: &FnCallExpr, at: Position) {
        let mut wrong = Vec::new();
        if let Some(Expr::StringConstant(name, name_at)) = call.args.first()
            && !query::WITHOUT_METRIC.contains(&call.name.as_str())
            && Metric::parse(name).is_none()
        {
            wrong.push((*name_at, no_metric(&clip(name))));
        }
        if let Some(Expr::StringConstant(text, text_at)) = call.args.last()
            && (call.args.len() > 1 || call.name == "changes")
            // Of a call that does not fit nobody knows what its last text was meant to be.
            && query::takes(&call.name, call.args.len())
            && let Err(error) = text.parse::<Span>()
        {
            wrong.push((*text_at, format!("the window: {error}")));
        }
        for (wrong_at, message) in wrong {
            self.error(wrong_at, message);
            // The dry run would complain at the call as well.
            self.problems.errors.insert(self.source.place(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_functions_that_rules_have_are_known() {
        let known = functions_of(&super::super::engine::bare());
        for name in ["len", "push", "keys", "abs", "round", "to_upper", "contains", "range", "filter", "sqrt"] {
            assert!(known.contains(name), "{name}");
        }
        for name in ["elapsed", "blob", "eval"] {
            assert!(!known.contains(name), "{name}");
        }
    }
}
