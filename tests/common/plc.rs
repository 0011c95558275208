//! A Modbus TCP server: the codec and the tables are those of `rmodbus`, which shares no code with what is tested.

use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hgad::time::Monotonic;
use rmodbus::ModbusProto;
use rmodbus::server::ModbusFrame;
use rmodbus::server::context::ModbusContext;
use rmodbus::server::storage::ModbusStorage;

/// 64 values of each kind.
pub type Tables = ModbusStorage<64, 64, 64, 64>;

/// What was written: function code, address, first value.
pub type Write = (u8, u16, u16);

#[derive(Default)]
struct Shared {
    tables: Tables,
    connections: Vec<TcpStream>,
    writes: Vec<(Monotonic, Write)>,
    reads: u64,
    is_silent: bool,
}

/// A server that runs until it is switched off.
#[derive(Clone)]
pub struct Plc {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Plc {
    /// Unit 1, on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let plc = Plc { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let accepting = plc.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                accepting.shared.lock().unwrap().connections.push(connection.try_clone().unwrap());
                let serving = accepting.clone();
                thread::spawn(move || serving.serve(connection));
            }
        });
        plc
    }

    /// Looks at the tables, or changes them.
    pub fn tables<T>(&self, with: impl FnOnce(&mut Tables) -> T) -> T {
        with(&mut self.shared.lock().unwrap().tables)
    }

    /// What was written so far.
    pub fn writes(&self) -> Vec<Write> {
        self.written().into_iter().map(|(_, write)| write).collect()
    }

    /// What was written so far, and when it arrived.
    pub fn written(&self) -> Vec<(Monotonic, Write)> {
        self.shared.lock().unwrap().writes.clone()
    }

    /// So many requests to read were answered so far.
    pub fn reads(&self) -> u64 {
        self.shared.lock().unwrap().reads
    }

    /// Cuts all connections, as a restart does; new ones are taken.
    pub fn cut(&self) {
        for connection in self.shared.lock().unwrap().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Takes requests and answers none, or answers again.
    pub fn silence(&self, is_silent: bool) {
        self.shared.lock().unwrap().is_silent = is_silent;
    }

    fn serve(&self, mut connection: TcpStream) {
        let mut request = [0; 256];
        while connection.read_exact(&mut request[..6]).is_ok() {
            let length = usize::from(u16::from_be_bytes([request[4], request[5]]));
            if connection.read_exact(&mut request[6..6 + length]).is_err() {
                return;
            }
            let answer = self.answer(&request);
            if answer.is_some_and(|answer| connection.write_all(&answer).is_err()) {
                return;
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut shared = self.shared.lock().unwrap();
        if shared.is_silent {
            return None;
        }
        let mut answer = Vec::new();
        let mut frame = ModbusFrame::new(1, request, ModbusProto::TcpUdp, &mut answer);
        frame.parse().unwrap();
        if frame.processing_required {
            // What goes wrong here is answered as an exception.
            let _ = match frame.readonly {
                true => frame.process_read(&shared.tables),
                false => frame.process_write(&mut shared.tables),
            };
        }
        let is_write = !frame.readonly;
        let reads = u64::from(frame.readonly);
        let is_wanted = frame.response_required;
        if is_wanted {
            frame.finalize_response().unwrap();
        }
        shared.reads += reads;
        if is_write {
            let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
            let (code, address) = (request[7], word(8));
            let value = match code {
                5 | 15 => u16::from(shared.tables.get_coil(address).unwrap_or_default()),
                _ => shared.tables.get_holding(address).unwrap_or_default(),
            };
            shared.writes.push((Monotonic::now(), (code, address, value)));
        }
        is_wanted.then_some(answer)
    }
}
