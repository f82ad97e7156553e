//! The rules of the house, enforced by reading the manifests and the sources.
//!
//! What one crate must not know about another is worth nothing as a sentence
//! in a document. Each rule here is a function from files to violations; each
//! has a bad sample beside it, so that a rule that can no longer fail is noticed.
//! A violation is one line: the place, what is wrong, and why the rule is there.

mod code;
mod manifests;
mod sources;
mod tree;

use tree::Tree;

fn assert_none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violation(s):\n{}\n",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn every_crate_depends_only_on_what_it_may_know() {
    assert_none(&manifests::check(&Tree::load()));
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    assert_none(&manifests::check_lints(&Tree::load()));
}

#[test]
fn foreign_types_stop_at_their_module() {
    assert_none(&sources::check_boundaries(&Tree::load()));
}

#[test]
fn sources_keep_to_the_style_sheet() {
    assert_none(&sources::check_style(&Tree::load()));
}

#[test]
fn links_between_documents_lead_somewhere() {
    assert_none(&sources::check_links(&Tree::load()));
}
