//! Many peers as a machine: finding, dialling, serving and keeping connections.

mod roster;
