//! webapi: the public HTTP API
