//! What goes wrong, and what must be seen then: the exit code, a message that names what, where and why, a hint, a
//! store that holds what it held, and an active environment that still is and works.

#[path = "failures/disk.rs"]
mod disk;
#[path = "failures/documents.rs"]
mod documents;
#[path = "failures/hostile.rs"]
mod hostile;
#[path = "failures/indexes.rs"]
mod indexes;
#[path = "failures/modules.rs"]
mod modules;
#[path = "failures/network.rs"]
mod network;
#[path = "failures/remedies.rs"]
mod remedies;
#[path = "failures/terminal.rs"]
mod terminal;
#[path = "failures/threads.rs"]
mod threads;
#[path = "failures/unnamed.rs"]
mod unnamed;

pub(crate) use self::disk::noise;
pub(crate) use self::threads::bounded;
