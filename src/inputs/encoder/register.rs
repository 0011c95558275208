//! A count that a Modbus TCP server keeps, in one register or two: a fast counter of a PLC, a drive's position.

use std::time::Duration;

use super::{Count, Doubts, Encoder};
use crate::Result;
use crate::modbus::{Client, Registers, Server};
use crate::time::Monotonic;

/// How a count stands in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 16 bits, in one register.
    Bits16,
    /// 32 bits, in two registers, the first with the higher half.
    Bits32HighFirst,
    /// 32 bits, in two registers, the first with the lower half.
    Bits32LowFirst,
}

impl Width {
    fn registers(self) -> u16 {
        match self {
            Width::Bits16 => 1,
            Width::Bits32HighFirst | Width::Bits32LowFirst => 2,
        }
    }

    /// The count, at the upper end of 32 bits: so differences wrap around where the counter does.
    fn aligned(self, words: &[u16]) -> u32 {
        let half = |at: usize| u32::from(words.get(at).copied().unwrap_or_default());
        match self {
            Width::Bits16 => half(0) << 16,
            Width::Bits32HighFirst => half(0) << 16 | half(1),
            Width::Bits32LowFirst => half(1) << 16 | half(0),
        }
    }

    /// How far it is from one aligned count to the next, the shorter way around.
    fn way(self, from: u32, to: u32) -> i64 {
        let way = i64::from(to.wrapping_sub(from) as i32);
        match self {
            Width::Bits16 => way >> 16,
            Width::Bits32HighFirst | Width::Bits32LowFirst => way,
        }
    }
}

/// What the configuration asks of a count over Modbus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSettings {
    /// The server.
    pub server: Server,
    /// The table.
    pub table: Registers,
    /// The first register.
    pub address: u16,
    /// How the count stands there. It may wrap around; between two answers it must move less than half its range.
    pub width: Width,
    /// How often it is asked for.
    pub period: Duration,
}

/// A count over Modbus.
pub struct RegisterEncoder {
    name: String,
    settings: RegisterSettings,
    client: Client,
    next: Monotonic,
    counted: Counted,
    /// What was told last.
    told: (i64, Doubts),
}

/// The counter's readings as one count.
#[derive(Debug)]
struct Counted {
    width: Width,
    /// The last reading; `None` after a failure: a server that was away may count anew.
    last: Option<u32>,
    count: i64,
    direction: i64,
    doubts: Doubts,
}

impl Counted {
    fn new(width: Width) -> Self {
        Counted { width, last: None, count: 0, direction: 0, doubts: Doubts::default() }
    }

    /// Takes a reading. The first one is where counting begins, or goes on.
    fn take(&mut self, words: &[u16]) {
        let reading = self.width.aligned(words);
        let way = self.last.map_or(0, |last| self.width.way(last, reading));
        self.last = Some(reading);
        self.count += way;
        self.doubts.turns += u64::from(way.signum() * self.direction == -1);
        if way != 0 {
            self.direction = way.signum();
        }
    }

    fn away(&mut self) {
        self.doubts.gaps += u64::from(self.last.take().is_some());
    }
}

impl RegisterEncoder {
    /// Connects and reads where the count begins. `name` is the configuration's.
    ///
    /// # Errors
    ///
    /// The server is not there, does not answer in time, or refuses.
    pub fn open(name: &str, settings: RegisterSettings) -> Result<Self> {
        let mut client = Client::open(settings.server.clone())?;
        let mut counted = Counted::new(settings.width);
        counted.take(&read(&mut client, &settings)?);
        let next = Monotonic::now() + settings.period;
        let told = (counted.count, counted.doubts);
        Ok(RegisterEncoder { name: name.to_owned(), settings, client, next, counted, told })
    }
}

fn read(client: &mut Client, settings: &RegisterSettings) -> Result<Vec<u16>> {
    client.read_registers(settings.table, settings.address, settings.width.registers())
}

impl Encoder for RegisterEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn wait(&mut self, patience: Duration) -> Result<Option<Count>> {
        let end = Monotonic::now() + patience;
        while self.next <= end {
            self.next.sleep_until();
            let asked = Monotonic::now();
            self.next = asked.max(self.next) + self.settings.period;
            let words = read(&mut self.client, &self.settings).inspect_err(|_| self.counted.away())?;
            let at = asked + Monotonic::now().saturating_since(asked) / 2;
            self.counted.take(&words);
            let Counted { count, doubts, .. } = self.counted;
            if (count, doubts) != std::mem::replace(&mut self.told, (count, doubts)) {
                return Ok(Some(Count { at, count, doubts }));
            }
        }
        end.sleep_until();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(width: Width, readings: &[&[u16]]) -> Vec<i64> {
        let mut counted = Counted::new(width);
        let count = |words: &&[u16]| {
            counted.take(words);
            counted.count
        };
        readings.iter().map(count).collect()
    }

    #[test]
    fn a_count_goes_on_where_its_registers_wrap_around() {
        assert_eq!(counts(Width::Bits16, &[&[65_530], &[4], &[65_535], &[32_766]]), [0, 10, 5, 32_772]);
        let high_first: &[&[u16]] = &[&[0xffff, 0xfffe], &[0, 3], &[0xffff, 0xffff], &[0x7fff, 0xfffe]];
        assert_eq!(counts(Width::Bits32HighFirst, high_first), [0, 5, 1, 1 + 0x7fff_ffff]);
        let low_first: &[&[u16]] = &[&[0xfffe, 0xffff], &[3, 0], &[3, 1]];
        assert_eq!(counts(Width::Bits32LowFirst, low_first), [0, 5, 65_541]);
    }

    #[test]
    fn any_walk_is_followed() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        for (width, reach) in
            [(Width::Bits16, 0x7fff), (Width::Bits32HighFirst, 0x7fff_ffff), (Width::Bits32LowFirst, 5)]
        {
            let (mut place, start) = (-3_i64, -3_i64);
            let mut counted = Counted::new(width);
            for _ in 0..1000 {
                let [high, low] = [(place >> 16) as u16, place as u16];
                match width {
                    Width::Bits16 => counted.take(&[low]),
                    Width::Bits32HighFirst => counted.take(&[high, low]),
                    Width::Bits32LowFirst => counted.take(&[low, high]),
                }
                assert_eq!(counted.count, place - start);
                place += random.random_range(-reach..=reach);
            }
        }
    }

    #[test]
    fn a_server_that_was_away_may_count_anew() {
        let mut counted = Counted::new(Width::Bits16);
        counted.take(&[500]);
        counted.take(&[520]);
        counted.away();
        counted.away();
        counted.take(&[0]);
        counted.take(&[7]);
        counted.take(&[5]);
        assert_eq!((counted.count, counted.doubts), (25, Doubts { noise: 0, turns: 1, gaps: 1 }));
    }
}
