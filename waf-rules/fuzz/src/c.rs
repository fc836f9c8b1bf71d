//! The C library, loaded from a path.

use std::{
    ffi::{CStr, c_char, c_int},
    path::Path,
};

use libloading::Library;

/// More than the state of the C library takes.
const STATE: usize = 1024;

pub struct C {
    sqli: unsafe extern "C" fn(*const c_char, usize, *mut c_char) -> c_int,
    xss: unsafe extern "C" fn(*const c_char, usize) -> c_int,
    init: unsafe extern "C" fn(*mut u64, *const c_char, usize, c_int),
    fingerprint: unsafe extern "C" fn(*mut u64, c_int) -> *const c_char,
    check: unsafe extern "C" fn(*mut u64) -> c_int,
    is_xss: unsafe extern "C" fn(*const c_char, usize, c_int) -> c_int,
    _library: Library,
}

impl C {
    pub fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: the signatures are those of libinjection.h of version 4.
        unsafe {
            let library = Library::new(path)?;
            Ok(Self {
                sqli: *library.get(b"libinjection_sqli\0")?,
                xss: *library.get(b"libinjection_xss\0")?,
                init: *library.get(b"libinjection_sqli_init\0")?,
                fingerprint: *library.get(b"libinjection_sqli_fingerprint\0")?,
                check: *library.get(b"libinjection_sqli_check_fingerprint\0")?,
                is_xss: *library.get(b"libinjection_is_xss\0")?,
                _library: library,
            })
        }
    }

    /// The fingerprint of an injection of SQL. A NUL must be behind the value: the C
    /// library reads there.
    pub fn sqli(&self, value: &Value) -> Option<Vec<u8>> {
        let mut fingerprint = [0; 16];
        // SAFETY: the value has that length, and a fingerprint is at most eight bytes.
        let found = unsafe { (self.sqli)(value.start(), value.len(), fingerprint.as_mut_ptr()) };
        assert!((0..=1).contains(&found), "{found} for {:?}", value.bytes());
        (found == 1).then(|| {
            let end = fingerprint.iter().position(|&byte| byte == 0);
            let letters = &fingerprint[..end.unwrap_or(0)];
            letters.iter().map(|&letter| letter as u8).collect()
        })
    }

    pub fn xss(&self, value: &Value) -> bool {
        // SAFETY: the value has that length.
        let found = unsafe { (self.xss)(value.start(), value.len()) };
        assert!((0..=1).contains(&found), "{found} for {:?}", value.bytes());
        found == 1
    }

    /// The fingerprint in one context, and whether it is that of an injection.
    pub fn fingerprint(&self, value: &Value, flags: c_int) -> (Vec<u8>, bool) {
        let mut state = [0_u64; STATE / 8];
        // SAFETY: the state is large enough, and the fingerprint lives in it.
        unsafe {
            (self.init)(state.as_mut_ptr(), value.start(), value.len(), flags);
            let letters = CStr::from_ptr((self.fingerprint)(state.as_mut_ptr(), flags));
            let letters = letters.to_bytes().to_vec();
            (letters, (self.check)(state.as_mut_ptr()) != 0)
        }
    }

    pub fn xss_in(&self, value: &Value, flags: c_int) -> bool {
        // SAFETY: the value has that length.
        unsafe { (self.is_xss)(value.start(), value.len(), flags) == 1 }
    }
}

/// A value with NULs behind it.
pub struct Value(Vec<u8>);

impl Value {
    const BEHIND: usize = 64;

    pub fn new(bytes: &[u8]) -> Self {
        Self([bytes, &[0; Self::BEHIND]].concat())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0[..self.len()]
    }

    fn len(&self) -> usize {
        self.0.len() - Self::BEHIND
    }

    fn start(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}
