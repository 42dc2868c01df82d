from retainer.protocol.program_errors import PROGRAM_ERRORS, explain

# What each range of fifty is about; numbers never move out of theirs.
RANGES = (6000, 6050, 6100, 6150, 6200, 6250, 6300)


def test_an_error_is_explained_by_message_name_and_number() -> None:
    assert explain(6104) == "The amount exceeds the deposit. (AmountAboveDeposit, 6104)"


def test_a_foreign_number_is_not_guessed() -> None:
    assert "no error 1" in explain(1)
    assert "no error 6299" in explain(6299)


def test_names_are_unique_and_messages_are_sentences() -> None:
    assert len({error.name for error in PROGRAM_ERRORS.values()}) == len(PROGRAM_ERRORS)
    assert all(RANGES[0] <= code < RANGES[-1] for code in PROGRAM_ERRORS)
    assert all(error.message.endswith(".") and error.message[0].isalnum() for error in PROGRAM_ERRORS.values())
