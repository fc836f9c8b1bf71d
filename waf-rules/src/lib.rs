//! SecLang engine.
