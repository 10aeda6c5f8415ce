"""The codes of the calculator, with their meaning. `make docs` writes docs/errors.md from these tables."""

REFUSALS = {
    "invalid_input": "A value is missing, has the wrong type, or is not a finite number.",
    "total_value_not_positive": "The account's value is zero, negative or not a number.",
    "reserve_exceeds_value": "The cash floor is as large as the account, or larger.",
    "no_targets": "There are no targets, or all weights are zero. Nothing is sold for an empty list.",
    "negative_weight": "A target's weight is negative.",
    "weights_above_one": "The sum of the targets' weights exceeds 1.0005.",
    "duplicate_target": "A symbol occurs twice in the targets.",
    "duplicate_quote": "A symbol has two quotes.",
    "reserve_out_of_range": "The cash reserve is not between 0 and 100 percent.",
    "negative_offset": "A limit offset, band or commission is negative.",
    "short_position": "The account has a short position.",
    "account_data_mismatch": "Value, cash and positions of the account do not add up.",
    "too_much_frozen": "Too large a part of the account cannot be traded. The message has the reason of each symbol.",
    "replacement_no_room": "The replacements leave too little for the weights that are not replaced.",
    "replacement_sum_off": "The replacements change the sum of the weights, because weights have too many digits.",
    "replacement_duplicate_source": "Two rules replace the same symbol.",
}

REASONS = {
    "underweight": "The position is smaller than its target.",
    "overweight": "The position is larger than its target.",
    "makes_room": "The position is sold below its target, because others or the cash reserve need the money more.",
    "not_a_target": "The position is not a target. It is sold.",
    "one_share": "The account holds no share of the target. Minimum one share is bought.",
    "inside_band": "The drift is inside the drift band.",
    "at_target": "No whole share brings the position nearer to its target.",
    "last_share": "The position is larger than its target. Its last share is kept.",
    "would_overshoot": "One more share would end too far above the target.",
    "not_enough_cash": "There is not enough cash for a share.",
    "cost_exceeds_gain": "The trade would not improve the account by enough to pay for its cost.",
    "improvement_too_small": "All trades inside the band together would improve the account too little.",
    "zero_weight": "The target's weight is zero. It is treated like a symbol that is not a target.",
    "no_valid_quote": "The symbol has no valid quote.",
    "below_tick": "The bid is below the smallest price step.",
    "fraction_only": "Less than a whole share is held. Fractions cannot be traded.",
    "kept": "The position is not a target, and the policy keeps such positions.",
    "short_kept": "The position is short, and the policy keeps it.",
    "other_contract": "Not the contract that an order for the symbol trades. It is counted, and never traded.",
}

WARNINGS = {
    "fraction_stays": "A fraction of a share remains.",
    "symbol_frozen": "A symbol without a valid quote is not traded.",
    "one_share_skipped": "The account holds no share of a target, and the minimum one share is not bought.",
    "weights_scaled": "The sum of the weights is a little above one. They are scaled to one in proportion.",
    "weights_below_one": "The sum of the weights is below one. The rest stays in cash.",
    "cash_below_reserve": "Cash is below the cash floor after the trades.",
}
