//! `activate`: one flip, nothing else, and nobody who is running notices.

mod flips;
mod git;
mod in_the_way;
mod names;
mod running;
mod shells;
