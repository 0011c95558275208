//! How the devices do, as changes: the core is told of what is new.

use crate::line::{Device, Happening};

/// What the core knows of a device.
#[derive(Debug)]
pub(super) struct Condition {
    device: Device,
    told: Result<(), String>,
}

impl Condition {
    /// Of a device that works.
    pub(super) fn of(device: Device) -> Self {
        Condition { device, told: Ok(()) }
    }

    /// Of what it is.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// What there is to tell, now that the device does like this.
    pub(super) fn follow(&mut self, health: Result<(), String>) -> Option<Happening> {
        if health == self.told {
            return None;
        }
        self.told = health.clone();
        Some(match health {
            Ok(()) => Happening::Recovered(self.device),
            Err(why) => Happening::Fault(self.device, why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_told_once() {
        let mut condition = Condition::of(Device::Camera);
        let mut follow = |health: Result<(), &str>| condition.follow(health.map_err(str::to_owned));
        let fault = |why: &str| Some(Happening::Fault(Device::Camera, why.into()));
        assert_eq!(follow(Ok(())), None);
        assert_eq!(follow(Err("unplugged")), fault("unplugged"));
        assert_eq!(follow(Err("unplugged")), None);
        assert_eq!(follow(Err("in use")), fault("in use"));
        assert_eq!(follow(Ok(())), Some(Happening::Recovered(Device::Camera)));
    }
}
