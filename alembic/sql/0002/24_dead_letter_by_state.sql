-- Lists of letters of one state, newest first.
CREATE INDEX dead_letter_by_state ON dead_letter (state, id)
