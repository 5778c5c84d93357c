//! One form for the marshalled code of a module, whatever the interpreter that wrote it held before.
//!
//! CPython writes an object that occurs twice as a back reference only where both are one object in memory, and marks
//! an object as one to refer back to where its reference count is above one. Both depend on what the interpreter
//! compiled before. So does whether a string is marked as interned, and the order within a frozenset. [`canonical`]
//! reads the objects and rewrites them from their values alone:
//!
//! - Equal constants are one object, as within one compilation they are for CPython. Code objects stay apart, and so
//!   do floats that are NaN.
//! - A string is interned where any string of the same text is. A text of at most one Latin-1 character is not marked:
//!   there is only one object of it in any case.
//! - The elements of a frozenset are sorted, by type and content.
//! - What occurs more than once is marked where it comes first, and referred to from then on. Only `None` and the like,
//!   and the empty tuple, are written out each time: that is shorter.
//!
//! What comes out has the same objects, is smaller, and loads no slower.

use std::cmp::Ordering;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

/// More bytes than this are left as they are, to bound the memory for them.
const LIMIT: usize = 64 << 20;
/// Objects nested deeper than this are refused: so does CPython.
const DEPTH: usize = 2000;
/// How much comparing the elements of frozensets may cost for each byte.
const EFFORT: u64 = 16;
/// As a rule there is one object that is not equal to another for so many bytes, or more.
const OBJECT: usize = 8;
/// Set in the type of an object that may be referred to.
const MARK: u8 = 0x80;
/// The children of a code object before the number of its first line, and all of them, by version.
const BEFORE_LINE: u32 = 8;
const CHILDREN_310: u32 = 9;
const CHILDREN_311: u32 = 10;
/// No object, or none yet.
const NONE: u32 = u32::MAX;

/// Brings the marshalled code of a module into the one form for it. `version` is that of the Python that wrote it, as
/// (3, 12). None: something in it is not known here, so it is best left as it is.
#[must_use]
pub(super) fn canonical(version: (u8, u8), bytes: &[u8]) -> Option<Vec<u8>> {
    // Bytes of numbers at the start of a code object, and its children.
    let (head, children) = match version {
        (3, 9 | 10) => (24, CHILDREN_310),
        (3, 11..=15) => (20, CHILDREN_311),
        _ => return None,
    };
    if bytes.len() > LIMIT {
        return None;
    }
    let reader = Reader {
        bytes,
        at: 0,
        head,
        children,
        graph: Graph::new(bytes),
        marked: Vec::new(),
    };
    let (graph, root) = reader.read()?;
    Some(graph.write(root))
}

/// An object. Its `kind` is its type in the file, less what only says how long or how shared it is: `(` is any tuple,
/// `a` any text in ASCII, `u` any other text.
#[derive(Clone, Copy)]
struct Object {
    kind: u8,
    interned: bool,
    /// It is, or has in it, what is never one with another object.
    apart: bool,
    /// Where in the bytes its content is, without children.
    start: u32,
    length: u32,
    /// Which part of the graph's children are its.
    first: u32,
    count: u32,
    /// Where in the bytes the number of the first line of code is.
    line: u32,
    hash: u32,
    /// What comparing it may cost.
    weight: u64,
}

/// Objects, each known by its number. Equal ones have the same.
struct Graph<'a> {
    bytes: &'a [u8],
    objects: Vec<Object>,
    children: Vec<u32>,
    /// A hash table of objects; its length is a power of two.
    table: Vec<u32>,
    hashes: RandomState,
    /// What comparing came to, at most.
    effort: u64,
}

/// An object whose children are being read.
struct Open {
    object: Object,
    /// Its number among those that may be referred to.
    mark: Option<usize>,
    /// Where its children begin among those of all that are open.
    first: usize,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    head: u32,
    children: u32,
    graph: Graph<'a>,
    /// What may be referred to.
    marked: Vec<u32>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Option<(Graph<'a>, u32)> {
        let mut open: Vec<Open> = Vec::new();
        let mut ready: Vec<u32> = Vec::new();
        loop {
            if let Some(top) = open.last_mut()
                && top.object.kind == b'c'
                && ready.len() - top.first == BEFORE_LINE as usize
            {
                top.object.line = self.skip(4)?;
            }
            let byte = self.byte()?;
            let (kind, mark) = (byte & !MARK, byte & MARK != 0);
            if kind == b'r' {
                let number = self.number()?;
                let object = *self.marked.get(number as usize).filter(|object| **object != NONE)?;
                if mark {
                    return None;
                }
                ready.push(object);
            } else {
                let object = self.object(kind)?;
                if mark && matches!(kind, b'N' | b'T' | b'F' | b'S' | b'.') {
                    return None;
                }
                let mark = mark.then(|| {
                    self.marked.push(NONE);
                    self.marked.len() - 1
                });
                if open.len() == DEPTH {
                    return None;
                }
                let first = ready.len();
                open.push(Open { object, mark, first });
            }
            // What has all its children is done, and may be the last child of what is around it.
            while let Some(Open { object, mark, first }) =
                open.pop_if(|top| ready.len() - top.first == top.object.count as usize)
            {
                let number = self.graph.add(object, &ready[first..])?;
                ready.truncate(first);
                ready.push(number);
                if let Some(mark) = mark {
                    self.marked[mark] = number;
                }
            }
            if open.is_empty() {
                let root = ready.pop().filter(|_| self.at == self.bytes.len())?;
                return Some((self.graph, root));
            }
        }
    }

    /// An object without its children.
    fn object(&mut self, kind: u8) -> Option<Object> {
        let mut object = Object {
            kind,
            interned: matches!(kind, b't' | b'A' | b'Z'),
            apart: false,
            start: 0,
            length: 0,
            first: 0,
            count: 0,
            line: 0,
            hash: 0,
            weight: 1,
        };
        match kind {
            b'N' | b'T' | b'F' | b'S' | b'.' => {}
            b'i' => object.length = 4,
            b'g' => object.length = 8,
            b'y' => object.length = 16,
            b'l' => {
                let digits = self.number()?.cast_signed().unsigned_abs();
                self.at -= 4;
                object.length = digits.checked_mul(2)?.checked_add(4)?;
            }
            b's' => object.length = self.number()?,
            b'u' | b't' => (object.kind, object.length) = (b'u', self.number()?),
            b'a' | b'A' => (object.kind, object.length) = (b'a', self.number()?),
            b'z' | b'Z' => (object.kind, object.length) = (b'a', self.byte()?.into()),
            b')' => (object.kind, object.count) = (b'(', self.byte()?.into()),
            b'(' | b'>' => object.count = self.number()?,
            b':' => object.count = 3,
            b'c' => (object.length, object.count, object.apart) = (self.head, self.children, true),
            _ => return None,
        }
        object.start = self.skip(object.length)?;
        let content = self.graph.content(&object);
        object.apart |= matches!(kind, b'g' | b'y') && content.chunks(8).any(is_nan);
        object.interned &= !is_single(object.kind, content);
        Some(object)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let (bytes, _) = self.bytes.get(self.at..)?.split_first_chunk()?;
        self.at += bytes.len();
        Some(u32::from_le_bytes(*bytes))
    }

    /// Where the next `length` bytes begin.
    fn skip(&mut self, length: u32) -> Option<u32> {
        let start = self.at;
        let end = start
            .checked_add(length as usize)
            .filter(|end| *end <= self.bytes.len())?;
        self.at = end;
        u32::try_from(start).ok()
    }
}

fn is_nan(float: &[u8]) -> bool {
    float.try_into().is_ok_and(|float| f64::from_le_bytes(float).is_nan())
}

/// Whether CPython has only one text of this content: that of at most one character of Latin-1.
fn is_single(kind: u8, content: &[u8]) -> bool {
    match kind {
        b'a' => content.len() <= 1,
        b'u' => matches!(content, [0xc2 | 0xc3, _]),
        _ => false,
    }
}

impl<'a> Graph<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            objects: Vec::new(),
            children: Vec::new(),
            table: vec![NONE; (bytes.len() / OBJECT).next_power_of_two().max(64)],
            hashes: RandomState::new(),
            effort: 0,
        }
    }

    fn content(&self, object: &Object) -> &'a [u8] {
        &self.bytes[object.start as usize..][..object.length as usize]
    }

    fn children(&self, object: &Object) -> &[u32] {
        &self.children[object.first as usize..][..object.count as usize]
    }

    /// The number of an object with these children.
    fn add(&mut self, mut object: Object, children: &[u32]) -> Option<u32> {
        object.weight += u64::from(object.length);
        for child in children {
            let child = &self.objects[*child as usize];
            object.weight = object.weight.saturating_add(child.weight);
            object.apart |= child.apart;
        }
        object.first = u32::try_from(self.children.len()).ok()?;
        self.children.extend_from_slice(children);
        if object.kind == b'>' {
            self.sort(&object)?;
        }
        // Nothing that stays apart is looked for; what has it in it is not found, because that has a number of its own.
        let alone = object.apart && children.is_empty() || object.kind == b'c';
        object.hash = self.hash(&object);
        let mut place = self.place(&object);
        while !alone && self.table[place] != NONE {
            let number = self.table[place];
            let other = &self.objects[number as usize];
            if other.hash == object.hash
                && other.kind == object.kind
                && self.content(other) == self.content(&object)
                && self.children(other) == self.children(&object)
            {
                self.objects[number as usize].interned |= object.interned;
                self.children.truncate(object.first as usize);
                return Some(number);
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        let number = u32::try_from(self.objects.len())
            .ok()
            .filter(|number| *number != NONE)?;
        self.objects.push(object);
        if !alone {
            self.table[place] = number;
            if self.objects.len() * 2 > self.table.len() {
                self.grow();
            }
        }
        Some(number)
    }

    #[expect(clippy::cast_possible_truncation, reason = "some bits of a hash are a hash")]
    fn hash(&self, object: &Object) -> u32 {
        let mut hasher = self.hashes.build_hasher();
        hasher.write_u8(object.kind);
        hasher.write(self.content(object));
        self.children(object).hash(&mut hasher);
        hasher.finish() as u32
    }

    /// Where to begin to look for an object in the table.
    fn place(&self, object: &Object) -> usize {
        object.hash as usize & (self.table.len() - 1)
    }

    fn grow(&mut self) {
        let length = self.table.len() * 2;
        let old = std::mem::replace(&mut self.table, vec![NONE; length]);
        for number in old.into_iter().filter(|number| *number != NONE) {
            let mut place = self.place(&self.objects[number as usize]);
            while self.table[place] != NONE {
                place = (place + 1) & (length - 1);
            }
            self.table[place] = number;
        }
    }

    /// Sorts the children of a frozenset. None: they have no order, or comparing them may take too long.
    fn sort(&mut self, set: &Object) -> Option<()> {
        self.effort = self.effort.saturating_add(set.weight);
        if set.apart || self.effort > EFFORT.saturating_mul(self.bytes.len() as u64) {
            return None;
        }
        let mut children = self.children.split_off(set.first as usize);
        children.sort_by(|left, right| self.compare(*left, *right));
        self.children.append(&mut children);
        Some(())
    }

    /// Orders objects that have nothing in them that stays apart, by type, length and content.
    fn compare(&self, mut left: u32, mut right: u32) -> Ordering {
        while left != right {
            let (one, other) = (&self.objects[left as usize], &self.objects[right as usize]);
            let key = |object: &Object| (object.kind, object.length, object.count);
            let order = key(one).cmp(&key(other));
            let order = order.then_with(|| self.content(one).cmp(self.content(other)));
            if order.is_ne() {
                return order;
            }
            // Equal objects have the same number, so there is a child that differs.
            let mut pairs = self.children(one).iter().zip(self.children(other));
            let Some(different) = pairs.find(|(one, other)| one != other) else {
                return order;
            };
            (left, right) = (*different.0, *different.1);
        }
        Ordering::Equal
    }

    /// Whether it is written out each time.
    fn is_brief(object: &Object) -> bool {
        object.length == 0 && object.count == 0 && !matches!(object.kind, b'a' | b'u' | b's' | b'>')
    }

    fn write(&self, root: u32) -> Vec<u8> {
        // Every object is below the root, because one that was found again has the children that were read for it.
        let mut uses = vec![0_u32; self.objects.len()];
        for object in &self.objects {
            for child in self.children(object) {
                let uses = &mut uses[*child as usize];
                *uses = uses.saturating_add(1);
            }
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut numbers = vec![NONE; self.objects.len()];
        let mut marked = 0;
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut next = Some(root);
        loop {
            if let Some(number) = next.take() {
                let object = &self.objects[number as usize];
                let known = &mut numbers[number as usize];
                if *known == NONE {
                    let mark = uses[number as usize] > 1 && !Self::is_brief(object);
                    if mark {
                        *known = marked;
                        marked += 1;
                    }
                    self.write_start(object, if mark { MARK } else { 0 }, &mut out);
                    open.push((number, 0));
                } else {
                    out.push(b'r');
                    out.extend_from_slice(&known.to_le_bytes());
                }
            }
            let Some((number, done)) = open.last_mut() else {
                return out;
            };
            let object = &self.objects[*number as usize];
            if object.kind == b'c' && *done == BEFORE_LINE {
                out.extend_from_slice(&self.bytes[object.line as usize..][..4]);
            }
            next = self.children(object).get(*done as usize).copied();
            *done += 1;
            if next.is_none() {
                open.pop();
            }
        }
    }

    /// Writes an object without its children.
    fn write_start(&self, object: &Object, mark: u8, out: &mut Vec<u8>) {
        let size = match object.kind {
            b'a' | b'u' | b's' => Some(object.length),
            b'(' | b'>' => Some(object.count),
            _ => None,
        };
        let has_short = matches!(object.kind, b'a' | b'(');
        let short = size.and_then(|size| u8::try_from(size).ok()).filter(|_| has_short);
        let kind = match (object.kind, short.is_some(), object.interned) {
            (b'a', true, false) => b'z',
            (b'a', true, true) => b'Z',
            (b'a', false, true) => b'A',
            (b'u', _, true) => b't',
            (b'(', true, _) => b')',
            (kind, _, _) => kind,
        };
        out.push(kind | mark);
        match (short, size) {
            (Some(short), _) => out.push(short),
            (None, Some(size)) => out.extend_from_slice(&size.to_le_bytes()),
            (None, None) => {}
        }
        out.extend_from_slice(self.content(object));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What CPython 3.12 writes for
    ///
    /// ```python
    /// a = {"foo", 2, 3}
    ///
    /// def f():
    ///     b = {"foo", 2, 3}
    /// ```
    ///
    /// in a new interpreter, and in one that compiled `import foo` before.
    const NEW: &str = "\
        e30000000000000000000000000200000000000000f312000000970068006400a3015a00640184005a0179022903be03000000da03666f6f\
        e902000000e903000000630000000000000000000000000200000003000000f30c000000970068006401a3017d00790029024e7202000000\
        a9002901da0162730100000020fa04622e7079da0166720a0000000300000073070000008000da08158141f3000000004e2902da0161720a\
        0000007207000000720b0000007209000000fa083c6d6f64756c653e720d00000001000000730f000000f003010101da04118001f3040101\
        16720b000000";
    const USED: &str = "\
        e30000000000000000000000000200000000000000f312000000970068006400a3015a00640184005a01790229033e03000000da03666f6f\
        e902000000e903000000630000000000000000000000000200000003000000f30c000000970068006401a3017d00790029024e3e03000000\
        720200000072030000007204000000a9002901da0162730100000020fa04622e7079da016672090000000300000073070000008000da0815\
        8141f3000000004e2902da016172090000007206000000720a0000007208000000fa083c6d6f64756c653e720c00000001000000730f0000\
        00f003010101da04118001f30401011672\
        0a000000";

    fn unhex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"));
        bytes.collect()
    }

    /// The canonical form for a Python that has slices, which has to be its own.
    fn form(bytes: &[u8]) -> Vec<u8> {
        let form = canonical((3, 14), bytes).expect("known");
        assert_eq!(canonical((3, 14), &form).as_deref(), Some(&*form));
        form
    }

    fn tuple(items: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![b')', u8::try_from(items.len()).expect("few")];
        bytes.extend(items.concat());
        bytes
    }

    fn set(items: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![b'>', u8::try_from(items.len()).expect("few"), 0, 0, 0];
        bytes.extend(items.concat());
        bytes
    }

    #[test]
    fn what_was_compiled_before_does_not_show() {
        let (new, used) = (unhex(NEW), unhex(USED));
        assert_ne!(new, used);
        let form = canonical((3, 12), &new).expect("known");
        assert_eq!(canonical((3, 12), &used).expect("known"), form);
        assert_eq!(canonical((3, 12), &form).expect("known"), form);
        assert!(form.len() <= new.len());
    }

    #[test]
    fn code_of_3_10_has_other_fields() {
        let code = |mark: u8| {
            let mut bytes = vec![b'c' | mark];
            bytes.extend([7; 24]);
            bytes.extend(b"s\x02\0\0\0ab)\x01N".iter().copied());
            bytes.extend([b')' | mark, 0]);
            bytes.extend(b")\0)\0)\0Z\x01fZ\x01f".iter().copied());
            bytes.extend([9, 0, 0, 0]);
            bytes.extend(b"s\x01\0\0\0\0".iter().copied());
            bytes
        };
        let mut expected = code(0);
        let at = expected.iter().position(|byte| *byte == b'Z').expect("there");
        expected.splice(at..at + 6, *b"\xfa\x01fr\0\0\0\0");
        assert_eq!(canonical((3, 10), &code(MARK)), Some(expected.clone()));
        assert_eq!(canonical((3, 9), &code(0)), Some(expected));
        assert_eq!(canonical((3, 11), &code(0)), None);
        assert_eq!(canonical((2, 7), &code(0)), None);
        assert_eq!(canonical((3, 16), &code(0)), None);
    }

    #[test]
    fn only_what_occurs_twice_is_marked() {
        // Marks that nothing refers to, a reference, and an equal object.
        let bytes = tuple(&[
            b"\xfa\x02ab",
            b"\xe7\0\0\0\0\0\0\0\0",
            b"r\x01\0\0\0",
            b"\xe9\x07\0\0\0",
        ]);
        let expected = tuple(&[b"z\x02ab", b"\xe7\0\0\0\0\0\0\0\0", b"r\0\0\0\0", b"i\x07\0\0\0"]);
        assert_eq!(form(&bytes), expected);
        let bytes = tuple(&[b"s\x02\0\0\0ab", b"s\x02\0\0\0ab", b"z\x02ab"]);
        assert_eq!(form(&bytes), tuple(&[b"\xf3\x02\0\0\0ab", b"r\0\0\0\0", b"z\x02ab"]));
        // What is around comes first.
        let inner = tuple(&[b"z\x02ab", b"z\x02ab"]);
        assert_eq!(
            form(&tuple(&[&inner, &inner])),
            tuple(&[b"\xa9\x02\xfa\x02abr\x01\0\0\0", b"r\0\0\0\0"])
        );
        assert_eq!(form(b")\x04)\0\xa9\0r\0\0\0\0N"), b")\x04)\0)\0)\0N");
    }

    #[test]
    fn what_is_equal_and_another_value_stays_apart() {
        let zeros = tuple(&[b"g\0\0\0\0\0\0\0\0", b"g\0\0\0\0\0\0\0\x80", b"i\0\0\0\0", b"F"]);
        assert_eq!(form(&zeros), zeros);
        let not_numbers = tuple(&[b"g\0\0\0\0\0\0\xf8\x7f", b"g\0\0\0\0\0\0\xf8\x7f"]);
        assert_eq!(form(&not_numbers), not_numbers);
        let around = tuple(&[&not_numbers, &not_numbers]);
        assert_eq!(form(&around), around);
        let same = tuple(&[b"\xe7\0\0\0\0\0\0\xf8\x7f", b"r\0\0\0\0"]);
        assert_eq!(form(&same), same);
        assert_eq!(canonical((3, 14), &set(&[b"g\0\0\0\0\0\0\xf8\x7f"])), None);
        let slices = b")\x02:NNN:NNT";
        assert_eq!(form(slices), slices);
        assert_eq!(form(b")\x02:NNN:NNN"), b")\x02\xbaNNNr\0\0\0\0");
    }

    #[test]
    fn equal_code_stays_apart() {
        let mut code = vec![b'c'];
        code.extend([0; 20]);
        code.extend_from_slice(
            b"s\x02\0\0\0ab)\x01N)\0)\0s\0\0\0\0z\x03a.pZ\x03fffZ\x03fff\x01\0\0\0s\0\0\0\0s\0\0\0\0",
        );
        let both = form(&tuple(&[&code, &code]));
        assert_eq!(both.split(|byte| *byte == b'c').count() - 1, 2);
        // One that is referred to stays one.
        let shared = [&[b'c' | MARK], &code[1..]].concat();
        let shared = form(&tuple(&[&shared, b"r\0\0\0\0"]));
        assert_eq!(shared[2], b'c' | MARK);
        assert!(shared.ends_with(b"r\0\0\0\0"));
    }

    #[test]
    fn a_text_is_interned_where_one_of_them_is() {
        let bytes = tuple(&[
            b"z\x03a.b",
            b"Z\x03a.b",
            b"u\x04\0\0\0\xc3\xa91x",
            b"t\x04\0\0\0\xc3\xa91x",
        ]);
        let expected = tuple(&[
            b"\xda\x03a.b",
            b"r\0\0\0\0",
            b"\xf4\x04\0\0\0\xc3\xa91x",
            b"r\x01\0\0\0",
        ]);
        assert_eq!(form(&bytes), expected);
        let bytes = tuple(&[b"Z\x01.", b"Z\0", b"t\x02\0\0\0\xc3\xa9", b"t\x02\0\0\0\xd0\xb0"]);
        let expected = tuple(&[b"z\x01.", b"z\0", b"u\x02\0\0\0\xc3\xa9", b"t\x02\0\0\0\xd0\xb0"]);
        assert_eq!(form(&bytes), expected);
        let long = [&b"A\0\x01\0\0"[..], &[b'x'; 256]].concat();
        assert_eq!(form(&long), long);
    }

    #[test]
    fn frozensets_are_sorted() {
        let (one, other) = (tuple(&[b"z\x02aa", b"N"]), tuple(&[b"z\x02ab", b"N"]));
        let some: [&[u8]; 5] = [b"N", b"i\x07\0\0\0", b"z\x03zzz", &one, &other];
        let mut turned = some;
        turned.reverse();
        assert_eq!(form(&set(&some)), form(&set(&turned)));
        // Sets that are equal once sorted are one, whatever refers to what is in them.
        let pair = tuple(&[b">\x02\0\0\0\xfa\x02aaN", b">\x02\0\0\0Nr\0\0\0\0", b"r\0\0\0\0"]);
        assert_eq!(
            form(&pair),
            tuple(&[b"\xbe\x02\0\0\0N\xfa\x02aa", b"r\0\0\0\0", b"r\x01\0\0\0"])
        );
    }

    #[test]
    fn what_is_not_understood_is_left() {
        let refused: [&[u8]; 14] = [
            b"",
            b"N ",
            b"[\0\0\0\0",
            b"{0",
            b"<\0\0\0\0",
            b"f\x010",
            b"r\0\0\0\0",
            b"\xa9\x01r\0\0\0\0",
            b")\x02r\0\0\0\0\xe9\0\0\0\0",
            b"(\xff\xff\xff\xffN",
            b"s\xff\xff\xff\xffN",
            b"l\0\0\0\x80N",
            b"\xceN",
            b")\x02\xe9\0\0\0\0\xf2\0\0\0\0",
        ];
        for bytes in refused {
            assert_eq!(canonical((3, 14), bytes), None, "{bytes:?}");
        }
        let nested = |depth: usize| [&b")\x01".repeat(depth)[..], b"N"].concat();
        assert!(canonical((3, 14), &nested(DEPTH - 1)).is_some());
        assert!(canonical((3, 14), &nested(DEPTH)).is_none());
        assert!(canonical((3, 14), &nested(1 << 20)).is_none());
    }

    #[test]
    fn hostile_bytes_do_no_harm() {
        for module in [unhex(NEW), unhex(USED)] {
            for end in 0..module.len() {
                assert_eq!(canonical((3, 12), &module[..end]), None);
                for bit in 0..8 {
                    let mut changed = module.clone();
                    changed[end] ^= 1 << bit;
                    if let Some(form) = canonical((3, 12), &changed) {
                        assert_eq!(canonical((3, 12), &form).as_deref(), Some(&*form));
                    }
                }
            }
        }
    }

    #[test]
    fn what_would_take_too_long_to_compare_is_left() {
        // Two towers that differ at the bottom only; each floor has the one below twice.
        let height = 200_u32;
        let mut towers = vec![b'('];
        towers.extend((2 * (height + 1) + 1).to_le_bytes());
        let mut number = 0_u32;
        for bottom in *b"TF" {
            towers.extend([b')' | MARK, 1, bottom]);
            for _ in 0..height {
                let below = [&b"r"[..], &number.to_le_bytes()].concat();
                towers.extend([&[b')' | MARK, 2], &below[..], &below[..]].concat());
                number += 1;
            }
            number += 1;
        }
        let uncompared = [&towers[..], b"N"].concat();
        assert_eq!(form(&uncompared).len(), uncompared.len());
        let tops = [height, 2 * height + 1].map(|top| [&b"r"[..], &top.to_le_bytes()].concat());
        let compared = [towers, set(&[&tops[0], &tops[1]])].concat();
        assert_eq!(canonical((3, 14), &compared), None);
    }
}
