//! Accounts and keys: who may sign
