//! Whom to dial, and when: topics, peers, priorities and back-off (hyperswarm 4.17).
