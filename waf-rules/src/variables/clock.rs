//! The calendar of `TIME` and its kin. The time is that of UTC, on every machine.

/// A moment, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) year: u64,
    /// 0 is January.
    pub(super) month: u64,
    /// From 1.
    pub(super) day: u64,
    /// 0 is Sunday.
    pub(super) weekday: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

impl Moment {
    /// Takes seconds since 1970.
    pub(super) fn of(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let (mut year, mut day) = (1970, days);
        // Whole cycles of the calendar first, so that no time takes long.
        year += day / 146_097 * 400;
        day %= 146_097;
        while day >= days_of_year(year) {
            day -= days_of_year(year);
            year += 1;
        }
        let mut month = 0;
        while day >= days_of_month(year, month) {
            day -= days_of_month(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: day + 1,
            // 1970 began on a Thursday.
            weekday: (days + 4) % 7,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let moment = |seconds| {
            let Moment {
                year,
                month,
                day,
                weekday,
                hour,
                minute,
                second,
            } = Moment::of(seconds);
            (year, month, day, weekday, hour, minute, second)
        };
        assert_eq!(moment(0), (1970, 0, 1, 4, 0, 0, 0));
        assert_eq!(moment(951_827_696), (2000, 1, 29, 2, 12, 34, 56));
        assert_eq!(moment(1_772_236_799), (2026, 1, 27, 5, 23, 59, 59));
        assert_eq!(moment(4_107_542_400), (2100, 2, 1, 1, 0, 0, 0));
        assert_eq!(moment(13_569_465_600), (2400, 0, 1, 6, 0, 0, 0));
        // The end of what fits is a moment as well.
        assert!(Moment::of(u64::MAX).day >= 1);
    }
}
