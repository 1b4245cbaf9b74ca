//! Cases of Google's Service Extensions plugin tester (`plugins/test/runner.proto` of the
//! repository GoogleCloudPlatform/service-extensions), read as they are.
//!
//! [`text`] reads protobuf's text form and keeps lines; [`schema`] is what a suite may have
//! in it. Why not a library: those that read this form want the message's types and forget
//! where in the file a field was.

mod schema;
mod text;

pub(super) use schema::read;
