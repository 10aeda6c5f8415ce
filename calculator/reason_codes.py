"""Every code of the calculator, and what it means."""

REFUSALS = {
    "invalid_input": "A value is missing, has the wrong shape, or is not a finite number.",
    "total_value_not_positive": "The account has no value, or a value that is not a number.",
    "reserve_exceeds_value": "The cash reserve takes up the whole account.",
    "no_targets": "There are no targets; nothing is sold for an empty list.",
    "negative_weight": "A target's weight is negative.",
    "weights_above_one": "The targets' weights add up to more than one.",
    "duplicate_target": "A symbol stands twice in the targets.",
    "duplicate_quote": "A symbol has two quotes.",
    "reserve_out_of_range": "The cash reserve is not between 0 and 100 percent.",
    "negative_offset": "A limit offset, band or commission is negative.",
    "short_position": "The account is short in a symbol.",
    "account_data_mismatch": "Value, cash and positions of the account do not add up.",
    "too_much_frozen": "Too much of the account has no valid quote.",
    "replacement_no_room": "The replacements leave too little for the weights that are not replaced.",
    "replacement_sum_off": "Weights of very many digits do not add up to what they were after the replacements.",
    "replacement_duplicate_source": "Two rules replace the same symbol.",
}

REASONS = {
    "underweight": "It holds less than its target.",
    "overweight": "It holds more than its target.",
    "not_a_target": "It is held and is no target: it is sold.",
    "one_share": "A target that was missing gets its one share.",
    "inside_band": "Its drift is inside the band.",
    "at_target": "No whole share brings it nearer to its target.",
    "not_enough_cash": "There is no money for a share of it.",
    "improvement_too_small": "All band trades together would improve the account too little.",
    "no_valid_quote": "It has no valid quote.",
    "below_tick": "Its bid is below the smallest price step.",
    "fraction_only": "Less than a whole share is held; fractions cannot be traded.",
    "kept": "It is no target, and the policy keeps it.",
    "ignored": "It is no target, and the policy leaves it out of the account.",
    "short_kept": "It is short, and the policy keeps it.",
    "other_contract": "It is not a US stock or ETF; it is counted and never traded.",
}

WARNINGS = {
    "fraction_stays": "A fraction of a share stays.",
    "symbol_frozen": "A symbol without a valid quote is left as it is.",
    "one_share_skipped": "A missing target did not get its one share.",
    "weights_below_one": "The weights add up to less than one; the rest stays in cash.",
    "cash_below_reserve": "After the trades cash is still below the reserve.",
}
