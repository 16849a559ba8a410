//! Golden vectors of `tool-db` 2.6.6 and conversations with a replica.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod content;
#[cfg(test)]
mod conversations;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod greetings;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod mesh;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod verdicts;
