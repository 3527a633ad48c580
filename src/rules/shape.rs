//! Where things are written: the places of map keys and values in the arguments of a call.
//!
//! At run time a constructor gets plain values that no longer know where they stood. Its call does
//! know, and the literal that is written there has the place of every key.

use std::collections::HashMap;

use rhai::{Expr, Position};

/// What an expression looks like, with places.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) at: Position,
    pub(super) form: Form,
}

/// The forms that hold other places.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Keys with their places, and the values.
    Map(Vec<(String, Position, Shape)>),
    List(Vec<Shape>),
    /// A variable that may be declared as a literal elsewhere in the file.
    Variable(String),
    Other,
}

impl Shape {
    pub(super) fn of(expr: &Expr) -> Shape {
        let form = match expr {
            Expr::Map(parts, _) => {
                Form::Map(parts.0.iter().map(|(key, value)| (key.name.to_string(), key.pos, Shape::of(value))).collect())
            }
            Expr::Array(parts, _) => Form::List(parts.iter().map(Shape::of).collect()),
            Expr::Variable(parts, _, _) if parts.2.is_empty() => Form::Variable(parts.1.to_string()),
            _ => Form::Other,
        };
        Shape { at: start(expr), form }
    }
}

/// Where an expression begins; an operator's call has the place of the operator.
fn start(expr: &Expr) -> Position {
    match expr {
        Expr::FnCall(call, _) if call.op_token.is_some() && !call.args.is_empty() => start(&call.args[0]),
        _ => expr.start_position(),
    }
}

/// The calls of one file by their position, and its literals that have a name.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    calls: HashMap<Position, Vec<Shape>>,
    named: HashMap<String, Shape>,
}

impl Shapes {
    pub(super) fn add_call(&mut self, at: Position, args: &[Expr]) {
        self.calls.insert(at, args.iter().map(Shape::of).collect());
    }

    /// `let name = #{ … }` or `[ … ]`; the first one of a name counts.
    pub(super) fn add_variable(&mut self, name: &str, value: &Expr) {
        if matches!(value, Expr::Map(..) | Expr::Array(..)) {
            self.named.entry(name.to_owned()).or_insert_with(|| Shape::of(value));
        }
    }

    /// Argument `index` of the call at this position.
    pub(super) fn argument(&self, call: Position, index: usize) -> Option<&Shape> {
        self.calls.get(&call)?.get(index).map(|shape| self.resolve(shape))
    }

    /// The key of a map, with the places of key and value.
    pub(super) fn entry<'a>(&'a self, shape: &'a Shape, key: &str) -> Option<(Position, &'a Shape)> {
        match &self.resolve(shape).form {
            Form::Map(entries) => entries.iter().find(|(name, ..)| name == key).map(|(_, at, value)| (*at, value)),
            _ => None,
        }
    }

    /// An item of a list.
    pub(super) fn item<'a>(&'a self, shape: &'a Shape, index: usize) -> Option<&'a Shape> {
        match &self.resolve(shape).form {
            Form::List(items) => items.get(index),
            _ => None,
        }
    }

    fn resolve<'a>(&'a self, shape: &'a Shape) -> &'a Shape {
        match &shape.form {
            Form::Variable(name) => self.named.get(name).unwrap_or(shape),
            _ => shape,
        }
    }
}
