//! What a `RefCell` does, for less: a state's column is read and written once or twice for every record.
//!
//! A `RefCell` counts its readers up and down in memory, and each step waits for the one before. Here a reader only puts back what it found, and a change that calls no code
//! of others sets no mark at all. In return a panic leaves the mark: whoever comes after is refused, which is right, because the operator's instance is dead then.

use std::cell::{Cell, UnsafeCell};

pub(crate) struct Guarded<T> {
    mark: Cell<Mark>,
    value: UnsafeCell<T>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Free,
    /// There are references.
    Read,
    /// There is one that may write.
    Changed,
}

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { mark: Cell::new(Mark::Free), value: UnsafeCell::new(value) }
    }

    /// Looks at the value.
    ///
    /// # Panics
    /// When it is being changed.
    #[inline(always)]
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        let before = self.mark.get();
        if before == Mark::Changed {
            conflict();
        }
        self.mark.set(Mark::Read);
        // SAFETY: nobody is changing the value, and as long as the mark says `Read` nobody begins to.
        let result = look(unsafe { &*self.value.get() });
        self.mark.set(before);
        result
    }

    /// Changes the value.
    ///
    /// # Panics
    /// When it is being read or changed.
    #[inline(always)]
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        if self.mark.get() != Mark::Free {
            conflict();
        }
        self.mark.set(Mark::Changed);
        // SAFETY: there is no reference, and as long as the mark says `Changed` nobody makes one.
        let result = change(unsafe { &mut *self.value.get() });
        self.mark.set(Mark::Free);
        result
    }

    /// As [`Guarded::change`], without the mark.
    ///
    /// # Safety
    /// `change` must not call code that could use this very `Guarded`: no code of the operator's author.
    #[inline(always)]
    pub(crate) unsafe fn change_alone<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        if self.mark.get() != Mark::Free {
            conflict();
        }
        // SAFETY: there is no reference, and while `change` runs nobody makes one.
        change(unsafe { &mut *self.value.get() })
    }
}

#[cold]
#[inline(never)]
fn conflict() -> ! {
    panic!("a state is used while it is being used: its value's own code must not do that")
}

#[cfg(test)]
mod tests {
    use super::Guarded;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn readers_may_meet_and_writers_may_not() {
        let refused = |call: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(call)).is_err();
        let value = Guarded::new(1);
        value.change(|value| *value += 1);
        assert_eq!(value.read(|outer| *outer + value.read(|inner| *inner)), 4);
        value.read(|_| {
            assert!(refused(&mut || value.change(|value| *value = 0)));
            // SAFETY: the closure calls nothing.
            assert!(refused(&mut || unsafe { value.change_alone(|value| *value = 0) }));
        });
        value.change(|_| {
            assert!(refused(&mut || value.read(|_| ())));
            assert!(refused(&mut || value.change(|_| ())));
        });
        // SAFETY: the closure calls nothing.
        unsafe { value.change_alone(|value| *value += 1) };
        assert_eq!(value.read(|value| *value), 3);
        assert!(refused(&mut || value.change(|_| panic!("it breaks"))));
        assert!(refused(&mut || value.read(|_| ())));
    }
}
