//! I6: switches per hour are bounded whatever a link does.
