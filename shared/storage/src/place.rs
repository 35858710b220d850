/// Where a page of a list that is sorted by ids begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<I> {
    Start,
    After(I),
    Before(I),
}
