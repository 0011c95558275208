//! Pickles, read without running anything.
//!
//! A pickle is a program for a small stack machine, which may call any function of Python: who loads a foreign file that way runs foreign
//! code. Here the machine calls nothing. What it would call is kept as a value, and the reader of weights looks for the few calls that it
//! knows. Values lie in one list and refer to each other by number, so that a file cannot make more of them than it has bytes.

/// A value's place in [`Pickle::values`].
pub type Id = usize;

/// What a program may leave on the stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`, and numbers that weights have no use for.
    Nothing,
    /// Whole numbers, and truth values as 0 and 1.
    Int(i64),
    Text(String),
    /// Tuples and lists.
    List(Vec<Id>),
    /// Ordered ones, too.
    Dict(Vec<(Id, Id)>),
    /// Something of a module, `module.name`.
    Global(String),
    /// What stands for something that lies outside the pickle.
    Outside(Id),
    /// A call that was not made: the function, and its arguments.
    Call(Id, Id),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    top: Id,
}

/// The stack machine.
#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: std::collections::HashMap<usize, Id>,
}

impl Pickle {
    /// Reads one pickle, and leaves `bytes` behind it.
    ///
    /// # Errors
    ///
    /// The bytes end before it does, or ask for what a pickle of weights does not.
    pub fn read(bytes: &mut &[u8]) -> Result<Self, String> {
        let mut machine = Machine::default();
        while let Some(code) = machine.step(bytes)? {
            if code == b'.' {
                let top = machine.pop()?;
                return Ok(Pickle { values: machine.values, top });
            }
        }
        Err("a pickle in it has no end".into())
    }

    /// What the program left.
    pub fn top(&self) -> &Value {
        &self.values[self.top]
    }

    /// The value in a place.
    pub fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number that counts something.
    pub fn count(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The members of a tuple or list.
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// What a dictionary has under `key`.
    pub fn under(&self, dict: &Value, key: &str) -> Option<&Value> {
        let Value::Dict(items) = dict else { return None };
        items.iter().find(|(name, _)| self.text(*name) == Some(key)).map(|(_, value)| self.get(*value))
    }
}

/// So many bytes.
fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Result<&'b [u8], String> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or("it was cut off within a pickle")?;
    *bytes = rest;
    Ok(taken)
}

/// An unsigned number of `N` bytes, the lowest first.
fn number<const N: usize>(bytes: &mut &[u8]) -> Result<usize, String> {
    let taken = take(bytes, N)?;
    Ok(taken.iter().rev().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
}

fn line(bytes: &mut &[u8]) -> Result<String, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it was cut off within a pickle")?;
    let text = text(take(bytes, end)?);
    take(bytes, 1)?;
    Ok(text)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Machine {
    /// Follows one instruction, and gives its code; `None` where there is none left. The codes are those of Python's `pickletools`.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<Option<u8>, String> {
        let Some((&code, rest)) = bytes.split_first() else { return Ok(None) };
        *bytes = rest;
        match code {
            b'.' => {}
            // The protocol's number, and the length of a frame.
            0x80 => {
                take(bytes, 1)?;
            }
            0x95 => {
                take(bytes, 8)?;
            }
            b'N' => self.push(Value::Nothing),
            0x88 => self.push(Value::Int(1)),
            0x89 => self.push(Value::Int(0)),
            b'K' => self.push(Value::Int(number::<1>(bytes)? as i64)),
            b'M' => self.push(Value::Int(number::<2>(bytes)? as i64)),
            b'J' => self.push(Value::Int(i64::from(number::<4>(bytes)? as u32 as i32))),
            0x8a => self.long(bytes)?,
            b'G' => {
                take(bytes, 8)?;
                self.push(Value::Nothing);
            }
            b'X' | b'T' => self.push_text::<4>(bytes)?,
            0x8c | b'U' => self.push_text::<1>(bytes)?,
            b'(' => self.marks.push(self.stack.len()),
            b')' | b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            b'q' => self.keep(number::<1>(bytes)?)?,
            b'r' => self.keep(number::<4>(bytes)?)?,
            0x94 => self.keep(self.memo.len())?,
            b'h' => self.recall(number::<1>(bytes)?)?,
            b'j' => self.recall(number::<4>(bytes)?)?,
            b'c' => {
                let name = format!("{}.{}", line(bytes)?, line(bytes)?);
                self.push(Value::Global(name));
            }
            0x93 => self.global()?,
            b'Q' => {
                let name = self.pop()?;
                self.push(Value::Outside(name));
            }
            b'R' => self.call()?,
            // A state for an object that was not made.
            b'b' => {
                self.pop()?;
            }
            _ => return Err(format!("its pickle has the instruction 0x{code:02x}, which weights have no need of")),
        }
        Ok(Some(code))
    }

    fn push(&mut self, value: Value) {
        self.values.push(value);
        self.stack.push(self.values.len() - 1);
    }

    fn push_text<const N: usize>(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let length = number::<N>(bytes)?;
        let text = text(take(bytes, length)?);
        self.push(Value::Text(text));
        Ok(())
    }

    /// A number of up to 8 bytes; a longer one is none that weights need.
    fn long(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let length = number::<1>(bytes)?;
        let digits = take(bytes, length)?;
        let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1i64 } else { 0 };
        let value = digits.iter().rev().fold(start, |number, byte| (number << 8) | i64::from(*byte));
        self.push(if length <= 8 { Value::Int(value) } else { Value::Nothing });
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        // What lies below a mark is not this instruction's to take.
        match self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            true => self.stack.pop().ok_or_else(|| unsound("takes from an empty stack")),
            false => Err(unsound("takes from an empty stack")),
        }
    }

    fn last(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| unsound("looks at an empty stack"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or_else(|| unsound("has no mark"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        self.push(Value::List(items));
        Ok(())
    }

    fn append(&mut self, new: &[Id]) -> Result<(), String> {
        let list = self.last()?;
        match &mut self.values[list] {
            Value::List(items) => items.extend(new),
            _ => return Err(unsound("appends to what is no list")),
        }
        Ok(())
    }

    fn insert(&mut self, new: &[Id]) -> Result<(), String> {
        let dict = self.last()?;
        match &mut self.values[dict] {
            Value::Dict(items) if new.len().is_multiple_of(2) => {
                items.extend(new.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err(unsound("puts into what is no dictionary")),
        }
        Ok(())
    }

    fn keep(&mut self, place: usize) -> Result<(), String> {
        self.memo.insert(place, self.last()?);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or_else(|| unsound("recalls what it did not keep"))?;
        self.stack.push(id);
        Ok(())
    }

    /// Something of a module, whose names lie on the stack.
    fn global(&mut self) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.values[module], &self.values[name]) {
            (Value::Text(module), Value::Text(name)) => {
                let name = format!("{module}.{name}");
                self.push(Value::Global(name));
                Ok(())
            }
            _ => Err(unsound("names no module")),
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        self.push(match &self.values[function] {
            // What is put into it comes later.
            Value::Global(name) if name == "collections.OrderedDict" => Value::Dict(Vec::new()),
            _ => Value::Call(function, arguments),
        });
        Ok(())
    }
}

fn unsound(what: &str) -> String {
    format!("it is damaged: its pickle {what}")
}
