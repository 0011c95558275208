//! A client of a Modbus TCP server: a PLC, a remote I/O block, a counter.
//!
//! | situation | what happens |
//! |---|---|
//! | the server does not answer | the call fails once [`Server::timeout`] is over, whatever it waits for; the connection is closed |
//! | the connection was closed meanwhile | it is opened anew, and the request is sent once more within the same time |
//! | the server is gone without a word (no power, no cable) | the kernel, which asks an idle one every second, gives the connection up after 4 s: [`Client::is_connected`] |
//! | the server refuses | the call fails with the server's reason; the connection stays |
//! | an answer that fits no request, or is damaged | the call fails; the connection is closed |
//!
//! All requests read or set, and none toggles or counts: one that is sent twice does what one that is sent once does.
//!
//! The messages are those of *MODBUS Application Protocol Specification V1.1b3*, their frame that of *MODBUS Messaging on
//! TCP/IP Implementation Guide V1.0b*.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use modbus_core::tcp::client::encode_request;
use modbus_core::tcp::{Header, RequestAdu};
use modbus_core::{Coils, Data, Exception, ExceptionResponse, Request, RequestPdu, Response};

use crate::{Error, Result};

/// The longest frame: 7 bytes of header and 253 of the message.
const LONGEST: usize = 260;
/// Transaction, protocol, length, unit.
const HEADER: usize = 7;
/// A server of which nothing is heard for so many seconds is asked by the kernel whether it is there, again after one second each, and
/// given up when so many of these questions found no answer.
const KEEP_ALIVE: [(libc::c_int, libc::c_int); 3] =
    [(libc::TCP_KEEPIDLE, 1), (libc::TCP_KEEPINTVL, 1), (libc::TCP_KEEPCNT, 3)];

/// A server, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port, usually 502.
    pub port: u16,
    /// Which unit behind a gateway is meant; a PLC of its own takes 1, 255 or any.
    pub unit: u8,
    /// How long a call may take in all.
    pub timeout: Duration,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} unit {}", self.host, self.port, self.unit)
    }
}

/// A table of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Bits that can be written (function code 1).
    Coils,
    /// Bits that can only be read (function code 2).
    DiscreteInputs,
}

/// A table of registers of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// Registers that can be written (function code 3).
    Holding,
    /// Registers that can only be read (function code 4).
    Input,
}

/// A client with one connection. Addresses count from 0, as they do on the wire: what a manual calls holding register 40001
/// is address 0.
#[derive(Debug)]
pub struct Client {
    server: Server,
    /// Where the name led when the client was made: a look-up may take seconds.
    addresses: Vec<SocketAddr>,
    connection: Option<TcpStream>,
    transaction: u16,
}

/// Why a call failed.
enum Failure {
    /// Nothing can be said over this connection any more.
    Connection(io::Error),
    Refused(Exception),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Connection(error)
    }
}

fn garbled(what: impl Into<String>) -> Failure {
    Failure::Connection(io::Error::new(ErrorKind::InvalidData, what.into()))
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The server is not there, or its name is not known.
    pub fn open(server: Server) -> Result<Self> {
        let addresses = (server.host.as_str(), server.port).to_socket_addrs();
        let addresses = addresses.and_then(|found| match found.collect::<Vec<_>>() {
            none if none.is_empty() => Err(io::Error::new(ErrorKind::NotFound, "the name has no address")),
            some => Ok(some),
        });
        let addresses = addresses.map_err(|error| unreachable_server(&server, error))?;
        let mut client = Client { server, addresses, connection: None, transaction: 0 };
        let connection = client.connect(Instant::now() + client.server.timeout);
        client.connection = Some(connection.map_err(|error| unreachable_server(&client.server, error))?);
        Ok(client)
    }

    /// Whether the connection stands, as far as the kernel knows, and nothing lies there that nobody asked for. The server is not asked,
    /// and nothing is waited for; that it answers requests is not known.
    pub fn is_connected(&self) -> bool {
        let Some(connection) = &self.connection else { return false };
        // Between two calls nothing is on its way: what lies there to be read answers a request that was given up, or no request, and
        // would hide the end of the connection behind it.
        let events = libc::POLLIN | libc::POLLRDHUP;
        let mut poll = libc::pollfd { fd: connection.as_raw_fd(), events, revents: 0 };
        // SAFETY: `poll` is one valid and writable entry, and the descriptor is open; nothing is waited for.
        match unsafe { libc::poll(&mut poll, 1, 0) } {
            0 => true,
            -1 => io::Error::last_os_error().kind() == ErrorKind::Interrupted,
            _ => false,
        }
    }

    /// Closes the connection: the next call opens another one.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Reads `count` (1 to 2000) bits from `address` on.
    ///
    /// # Errors
    ///
    /// The server does not answer in time, or refuses.
    pub fn read_bits(&mut self, table: Bits, address: u16, count: u16) -> Result<Vec<bool>> {
        let request = match table {
            Bits::Coils => Request::ReadCoils(address, count),
            Bits::DiscreteInputs => Request::ReadDiscreteInputs(address, count),
        };
        self.call(request, |response| match (table, response) {
            (Bits::Coils, Response::ReadCoils(bits)) | (Bits::DiscreteInputs, Response::ReadDiscreteInputs(bits)) => {
                // The last byte is filled up.
                let bits = bits.into_iter().take(count.into()).collect::<Vec<_>>();
                (bits.len() == usize::from(count)).then_some(bits)
            }
            _ => None,
        })
    }

    /// Reads `count` (1 to 125) registers from `address` on.
    ///
    /// # Errors
    ///
    /// As [`Client::read_bits`].
    pub fn read_registers(&mut self, table: Registers, address: u16, count: u16) -> Result<Vec<u16>> {
        let request = match table {
            Registers::Holding => Request::ReadHoldingRegisters(address, count),
            Registers::Input => Request::ReadInputRegisters(address, count),
        };
        self.call(request, |response| match (table, response) {
            (Registers::Holding, Response::ReadHoldingRegisters(words))
            | (Registers::Input, Response::ReadInputRegisters(words)) => {
                let words = words.into_iter().collect::<Vec<_>>();
                (words.len() == usize::from(count)).then_some(words)
            }
            _ => None,
        })
    }

    /// Sets one coil (function code 5).
    ///
    /// # Errors
    ///
    /// As [`Client::read_bits`].
    pub fn write_coil(&mut self, address: u16, on: bool) -> Result<()> {
        self.call(Request::WriteSingleCoil(address, on), |response| {
            matches!(response, Response::WriteSingleCoil(echo) if echo == address).then_some(())
        })
    }

    /// Sets one register (function code 6).
    ///
    /// # Errors
    ///
    /// As [`Client::read_bits`].
    pub fn write_register(&mut self, address: u16, value: u16) -> Result<()> {
        self.call(Request::WriteSingleRegister(address, value), |response| {
            matches!(response, Response::WriteSingleRegister(to, echo) if (to, echo) == (address, value)).then_some(())
        })
    }

    /// Sets coils (function code 15), 1 to 1968 of them, from `address` on.
    ///
    /// # Errors
    ///
    /// As [`Client::read_bits`].
    pub fn write_coils(&mut self, address: u16, on: &[bool]) -> Result<()> {
        // The library takes the whole space for coils.
        let mut packed = vec![0; on.len().div_ceil(8)];
        let coils = Coils::from_bools(on, &mut packed).map_err(too_long)?;
        self.call(Request::WriteMultipleCoils(address, coils), |response| {
            matches!(response, Response::WriteMultipleCoils(to, count) if (to, count.into()) == (address, on.len()))
                .then_some(())
        })
    }

    /// Sets registers (function code 16), 1 to 123 of them, from `address` on.
    ///
    /// # Errors
    ///
    /// As [`Client::read_bits`].
    pub fn write_registers(&mut self, address: u16, values: &[u16]) -> Result<()> {
        let mut packed = vec![0; 2 * values.len()];
        let words = Data::from_words(values, &mut packed).map_err(too_long)?;
        self.call(Request::WriteMultipleRegisters(address, words), |response| {
            matches!(response, Response::WriteMultipleRegisters(to, count) if (to, count.into()) == (address, values.len()))
                .then_some(())
        })
    }

    /// Sends a request and gives what `take` finds in the answer to it.
    fn call<T>(&mut self, request: Request, take: impl Fn(Response) -> Option<T>) -> Result<T> {
        let end = Instant::now() + self.server.timeout;
        let is_used = self.connection.is_some();
        let mut answer = self.exchange(request, &take, end);
        // A server that closes idle connections, or was restarted, says so only to the next request.
        if is_used && matches!(&answer, Err(Failure::Connection(error)) if was_closed(error)) {
            answer = self.exchange(request, &take, end);
        }
        answer.map_err(|failure| match failure {
            Failure::Connection(error) => unreachable_server(&self.server, error),
            Failure::Refused(exception) => refused(&self.server, exception),
        })
    }

    fn exchange<T>(
        &mut self,
        request: Request,
        take: impl Fn(Response) -> Option<T>,
        end: Instant,
    ) -> Result<T, Failure> {
        self.transaction = self.transaction.wrapping_add(1);
        let hdr = Header { transaction_id: self.transaction, unit_id: self.server.unit };
        let mut frame = [0; LONGEST];
        let length = encode_request(RequestAdu { hdr, pdu: RequestPdu(request) }, &mut frame)
            .map_err(|error| garbled(format!("the request cannot be written: {error}")))?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect(end)?,
        };
        connection.set_write_timeout(Some(left(end)?))?;
        connection.write_all(&frame[..length])?;
        loop {
            let (header, message) = receive(&mut connection, &mut frame, end)?;
            // The answer to an earlier request, which was given up.
            if header.transaction_id != self.transaction {
                continue;
            }
            let answer = understand(message, &take);
            if header.unit_id != self.server.unit {
                return Err(garbled(format!("unit {} answered", header.unit_id)));
            }
            if !matches!(answer, Err(Failure::Connection(_))) {
                self.connection = Some(connection);
            }
            return answer;
        }
    }

    fn connect(&self, end: Instant) -> io::Result<TcpStream> {
        let mut failure = io::Error::from(ErrorKind::NotFound);
        for address in &self.addresses {
            match left(end).and_then(|left| TcpStream::connect_timeout(address, left)) {
                Ok(connection) => {
                    connection.set_nodelay(true)?;
                    keep_alive(&connection)?;
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Lets the kernel find out that the other end of an idle connection is gone.
fn keep_alive(connection: &TcpStream) -> io::Result<()> {
    let switched_on = [(libc::SOL_SOCKET, (libc::SO_KEEPALIVE, 1))];
    for (level, (option, value)) in switched_on.into_iter().chain(KEEP_ALIVE.map(|pair| (libc::IPPROTO_TCP, pair))) {
        let value: libc::c_int = value;
        // SAFETY: the option's value is an int, as the size says, and lives as long as the call.
        let set = unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(connection.as_raw_fd(), level, option, (&raw const value).cast(), size)
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The time that is left, as a socket's time-out, which must not be zero.
fn left(end: Instant) -> io::Result<Duration> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Reads one frame into `frame`, and gives its header and its message.
fn receive<'f>(
    connection: &mut TcpStream,
    frame: &'f mut [u8; LONGEST],
    end: Instant,
) -> Result<(Header, &'f [u8]), Failure> {
    fill(connection, &mut frame[..HEADER], end)?;
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (transaction_id, protocol, length, unit_id) = (word(0), word(2), usize::from(word(4)), frame[6]);
    // The length counts the unit, which has been read, and at least a function code.
    if protocol != 0 || !(2..=LONGEST - HEADER + 1).contains(&length) {
        return Err(garbled("what answers there does not speak Modbus TCP"));
    }
    let message = &mut frame[HEADER..HEADER + length - 1];
    fill(connection, message, end)?;
    Ok((Header { transaction_id, unit_id }, message))
}

fn fill(connection: &mut TcpStream, mut space: &mut [u8], end: Instant) -> io::Result<()> {
    while !space.is_empty() {
        connection.set_read_timeout(Some(left(end)?))?;
        match connection.read(space) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => space = &mut space[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What an answer's message says.
fn understand<T>(message: &[u8], take: impl Fn(Response) -> Option<T>) -> Result<T, Failure> {
    if message.first().is_some_and(|code| *code >= 0x80) {
        // The library wants to see two bytes.
        let refused = message.get(..2).and_then(|message| ExceptionResponse::try_from(message).ok());
        return Err(refused.map_or_else(
            || garbled(format!("an error that the specification does not know: {message:02x?}")),
            |refused| Failure::Refused(refused.exception),
        ));
    }
    let response = Response::try_from(message).ok();
    response.and_then(take).ok_or_else(|| garbled(format!("an answer that does not fit the request: {message:02x?}")))
}

fn was_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

fn unreachable_server(server: &Server, error: io::Error) -> Error {
    let what = match error.kind() {
        ErrorKind::TimedOut => {
            format!("Modbus server {server} does not answer within {} ms", server.timeout.as_millis())
        }
        _ => format!("Modbus server {server} cannot be reached"),
    };
    Error::device(what).because(error).advise(
        "is it switched on and on this network (ping)? Does it take connections on that port, and as many as are open? Is \
         the unit right?",
    )
}

fn refused(server: &Server, exception: Exception) -> Error {
    let advice = match exception {
        Exception::IllegalFunction => "the server lacks this function code; try another table, or write = \"multiple\"",
        Exception::IllegalDataAddress => {
            "check the address: here it counts from 0, so that holding register 40001 of a manual is 0"
        }
        Exception::GatewayPathUnavailable | Exception::GatewayTargetDevice => {
            "check the unit, and the device behind the gateway"
        }
        _ => "look into the server's own diagnosis",
    };
    Error::device(format!("Modbus server {server} refuses")).because(exception.to_string()).advise(advice)
}

fn too_long(error: modbus_core::Error) -> Error {
    Error::usage("so many values do not fit into one Modbus request").because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind as Kind;
    use std::net::TcpListener;
    use std::thread;

    /// A server that gives each connection one of `answers` to its first request, then closes it.
    fn answering(answers: Vec<Vec<u8>>) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = [0; 12];
                connection.read_exact(&mut request).unwrap();
                let answer: Vec<u8> = request[..2].iter().copied().chain(answer).collect();
                connection.write_all(&answer).unwrap();
            }
        });
        let timeout = Duration::from_millis(500);
        Client::open(Server { host: "127.0.0.1".into(), port, unit: 1, timeout }).unwrap()
    }

    /// What follows the transaction in a frame of unit 1.
    fn framed(message: &[u8]) -> Vec<u8> {
        let length = (message.len() as u16 + 1).to_be_bytes();
        [&[0, 0], &length[..], &[1], message].concat()
    }

    #[test]
    fn answers_that_fit_no_request_are_errors_and_never_panics() {
        let cases = [
            ("does not speak Modbus", b"HTTP/1.1 400".to_vec()),
            ("does not speak Modbus", vec![0, 0, 0, 1, 1]),
            ("does not speak Modbus", vec![0, 0, 255, 255, 1, 3]),
            ("does not fit", framed(&[4, 2, 0, 7])),
            ("does not fit", framed(&[3])),
            ("does not fit", framed(&[3, 200, 0])),
            ("does not fit", framed(&[3, 4, 0, 7, 0, 8])),
            ("does not fit", framed(&[0x7f, 1])),
            ("does not know", framed(&[0x83])),
            ("does not know", framed(&[0x83, 0x77])),
            ("unit 9", [vec![0, 0, 0, 5, 9], vec![3, 2, 0, 7]].concat()),
            ("end of file", vec![0, 0]),
        ];
        for (says, answer) in cases {
            // The one that follows must not be taken for the answer to a request that it did not see.
            let mut client = answering(vec![answer.clone(), answer.clone(), framed(&[3, 2, 0, 7])]);
            let error = client.read_registers(Registers::Holding, 0, 1).expect_err(says);
            assert_eq!(error.kind(), Kind::Device);
            assert!(error.report().contains(says), "{answer:02x?}: {}", error.report());
            assert!(client.connection.is_none(), "{answer:02x?}: the connection is closed");
        }
    }

    #[test]
    fn random_messages_never_panic() {
        use rand::{Rng, RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200_000 {
            let mut message = vec![0; random.random_range(1..20)];
            random.fill_bytes(&mut message);
            message[0] = if random.random() { message[0] } else { random.random_range(1..0x19) };
            let _ = understand(&message, |response| match response {
                Response::ReadCoils(bits) | Response::ReadDiscreteInputs(bits) => Some(bits.into_iter().count()),
                Response::ReadHoldingRegisters(words) | Response::ReadInputRegisters(words) => {
                    Some(words.into_iter().count())
                }
                _ => None,
            });
        }
    }

    #[test]
    fn a_server_that_is_silent_costs_no_more_than_the_timeout() {
        // Connections wait to be accepted, and requests are taken by the kernel.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let timeout = Duration::from_millis(30);
        let mut client = Client::open(Server { host: "127.0.0.1".into(), port, unit: 1, timeout }).unwrap();
        let error = client.write_coil(3, true).expect_err("nobody answers");
        assert!(error.to_string().contains("does not answer within 30 ms"), "{}", error.report());
    }

    #[test]
    fn a_server_that_is_not_there_is_a_device_error_with_advice() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let timeout = Duration::from_millis(200);
        let error =
            Client::open(Server { host: "127.0.0.1".into(), port: free, unit: 1, timeout }).expect_err("nobody");
        assert_eq!(error.kind(), Kind::Device);
        assert!(error.report().contains("\n  try: "), "{}", error.report());
    }
}
