//! What the end-to-end tests stand on: wheels, an index server and a world of their own for each test.
//!
//! - [`wheel`] makes wheels, right or broken; [`family`] is the fake PyTorch family made with it, [`hostile`] the corpus
//!   of wheels that must be refused;
//! - [`server`] offers them over HTTP and misbehaves on demand;
//! - [`tls`] and [`proxy`] stand in front of it;
//! - [`world`] gives a test its folders, its environment variables, its fake tools and the built program.
//!
//! No test needs the internet, a GPU, a compiler or a file outside the repository. A CPython of 3.9 to 3.13 is needed
//! by those that run one; they say so and skip where there is none.

pub(crate) mod encoding;
pub(crate) mod family;
pub(crate) mod hostile;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod wheel;
pub(crate) mod world;
pub(crate) mod zip;
