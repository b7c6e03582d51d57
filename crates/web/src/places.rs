//! How many connections there may be, in all and of one address, and who has to leave when others want in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::auth::limits::source;

/// Connections in all: what a router has memory for, some 20 KiB each, twice that with TLS.
const TOTAL_MAX: usize = 256;
/// Of one address: fifty dashboards behind one address, and what browsers open beside their event stream.
const PER_ADDRESS_MAX: usize = 128;

/// One connection's seat.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    busy: AtomicBool,
    leave: Notify,
}

impl Seat {
    /// While a whole request is being answered nobody takes the seat away; a client that only sits there, or sends a request slowly,
    /// makes room for others.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// When another one needs the seat.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

type Seats = BTreeMap<u64, Arc<Seat>>;

/// All seats.
#[derive(Debug, Default)]
pub(crate) struct Places {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    total: usize,
    /// By address, the oldest first.
    seats: BTreeMap<IpAddr, Seats>,
}

/// A seat that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    id: u64,
    pub(crate) seat: Arc<Seat>,
}

impl Places {
    /// A seat for a client at `address`, if need be that of the one of that address, or else of the address with the most, who has
    /// sat there idly for longest. `None`: all are busy.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = source(address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.seats.get(&address).is_some_and(|seats| seats.len() >= PER_ADDRESS_MAX) {
            state.make_room(address)?;
        }
        if state.total >= TOTAL_MAX {
            let most = state.seats.iter().max_by_key(|(_, seats)| idle(seats))?;
            let most = *most.0;
            state.make_room(most)?;
        }
        let (id, seat) = (state.next, Arc::new(Seat::default()));
        state.next += 1;
        state.total += 1;
        state.seats.entry(address).or_default().insert(id, seat.clone());
        Some(Place { places: self.clone(), address, id, seat })
    }
}

fn idle(seats: &Seats) -> usize {
    seats.values().filter(|seat| !seat.busy.load(Ordering::Relaxed)).count()
}

impl State {
    fn make_room(&mut self, address: IpAddr) -> Option<()> {
        let seats = self.seats.get(&address)?;
        let (id, seat) = seats.iter().find(|(_, seat)| !seat.busy.load(Ordering::Relaxed))?;
        seat.leave.notify_one();
        let id = *id;
        self.remove(address, id);
        Some(())
    }

    fn remove(&mut self, address: IpAddr, id: u64) {
        let Some(seats) = self.seats.get_mut(&address) else { return };
        if seats.remove(&id).is_some() {
            self.total -= 1;
        }
        if seats.is_empty() {
            self.seats.remove(&address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remove(self.address, self.id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn who_sits_idly_for_longest_makes_room_and_who_is_served_does_not() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Place> = (0..PER_ADDRESS_MAX).map(|_| places.take(address(1)).unwrap()).collect();
        held[0].seat.set_busy(true);
        held.push(places.take(address(1)).unwrap());
        let told =
            |place: &Place| format!("{:?}", place.seat.leave).contains("NOTIFIED") || !place.is_there();
        assert!(!told(&held[0]) && told(&held[1]) && !told(&held[2]));
        held.iter().for_each(|place| place.seat.set_busy(true));
        assert!(places.take(address(1)).is_none());
        assert!(places.take(address(2)).is_some(), "another address has seats of its own");
    }

    #[test]
    fn the_address_with_the_most_makes_room_for_the_others() {
        let places = Arc::new(Places::default());
        let crowd: Vec<Place> = (0..1000).filter_map(|n| places.take(address(n % 3))).collect();
        assert_eq!(places.state.lock().unwrap().total, TOTAL_MAX);
        let guest = places.take(address(77)).unwrap();
        assert!(guest.is_there());
        let count = |n| places.state.lock().unwrap().seats[&address(n)].len();
        assert_eq!(count(0) + count(1) + count(2), TOTAL_MAX - 1);
        // A seat that was taken away is not given back a second time.
        drop(crowd);
        drop(guest);
        let state = places.state.lock().unwrap();
        assert_eq!((state.total, state.seats.len()), (0, 0));
    }

    impl Place {
        fn is_there(&self) -> bool {
            let state = self.places.state.lock().unwrap();
            state.seats.get(&self.address).is_some_and(|seats| seats.contains_key(&self.id))
        }
    }
}
