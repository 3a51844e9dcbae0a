// One symbol at a time: the portable kernels are made of this, and the vector ones use it for what is rare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels.hpp"

namespace intaglio {

// In memory words are little-endian, whatever the machine.
static inline std::uint32_t load_word(const std::uint8_t* at) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    std::uint16_t word;
    std::memcpy(&word, at, 2);  // one instruction, which not every compiler makes of the line below
    return word;
#else
    return at[0] | static_cast<std::uint32_t>(at[1]) << 8;
#endif
}

static inline void store_word(std::uint8_t* at, std::uint32_t word) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    std::memcpy(at, &word, 2);
#else
    at[0] = static_cast<std::uint8_t>(word);
    at[1] = static_cast<std::uint8_t>(word >> 8);
#endif
}

// `yes` if the condition is 1, `no` if it is 0. Compilers make branches of ?:, and here the conditions are random.
static inline std::uint32_t pick(std::uint32_t condition, std::uint32_t yes, std::uint32_t no) {
    return no ^ ((no ^ yes) & -condition);
}

static inline std::uint16_t clamp16(std::int32_t symbol) {
    const std::int32_t low = symbol < -32768 ? -32768 : symbol;
    return static_cast<std::uint16_t>(low > 32767 ? 32767 : low);
}

// The cell of symbol number `at` of the block; that of the escape, marked, if the table lacks the symbol.
static inline const Cell& cell_of(const View& view, Block& block, std::size_t at) {
    const std::uint32_t shifted = static_cast<std::uint32_t>(block.symbols[at] + kNear / 2);
    if (shifted < kNear) [[likely]] {
        const Cell& cell = view.near[block.rows[at] << kNearBits | shifted];
        if (cell.frequency != 0) [[likely]]
            return cell;
    }
    const Row& row = view.rows[block.rows[at]];
    const std::uint32_t offset = static_cast<std::uint32_t>(block.symbols[at] - row.first);
    if (offset < row.regular) return view.cells[row.base + offset];
    block.marks[block.marked++] = static_cast<std::uint16_t>(at);
    return view.cells[row.base + row.regular];
}

// Whether a word has to leave the state before the cell is coded, lest it outgrow 32 bits.
static inline bool overflows(const Cell& cell, std::uint32_t state) {
    return state >= static_cast<std::uint32_t>(cell.frequency) << (32 - kPrecision);
}

// state -> (state / f) * 2^15 + state % f + start, for a state below f * 2^17. The reciprocal is too small by a factor
// between 1 - 2^-20 and 1 - 2^-22; float rounding, to nearest, adds less than 2^-23 to the relative error. So the
// product is below the true quotient, which is below 2^17, and by less than 1/4: cut to an integer it is the quotient or
// one less. `rest` tells which; one more quotient and f less rest are one term.
static inline std::uint32_t put(const Cell& cell, std::uint32_t state) {
    const auto cut = static_cast<std::int32_t>(static_cast<float>(state) * cell.reciprocal);
    const auto quotient = static_cast<std::uint32_t>(cut);
    const std::uint32_t rest = state - quotient * cell.frequency;
    const std::uint32_t one_more = rest >= cell.frequency ? kTotal - cell.frequency : 0;
    return (quotient << kPrecision) + rest + cell.start + one_more;
}

// Codes symbol number `at` of the block; returns the lowest word.
static inline std::uint8_t* encode_one(const View& view, std::uint32_t& state, Block& block, std::size_t at,
                                       std::uint8_t* words) {
    const Cell& cell = cell_of(view, block, at);
    const std::uint32_t before = state;
    const std::uint32_t full = overflows(cell, before);
    store_word(words - 2, before);  // in vain if it is not full, but without a branch
    state = put(cell, pick(full, before >> 16, before));
    return words - 2 * full;
}

// Decodes what the look-up missed: sets symbol number `at` or marks it as an escape; returns the state before its
// renormalisation. The cell is near the bucket's; cells cover all slots.
static inline std::uint32_t take_missed(const View& view, Block& block, std::size_t at, std::uint32_t state) {
    const Row& row = view.rows[block.rows[at]];
    const std::uint32_t slot = state & (kTotal - 1);
    const Bucket& bucket = view.buckets[block.rows[at] << kBucketBits | slot >> kBucketShift];
    const Cell* const cells = view.cells + row.base;
    std::uint32_t number = static_cast<std::uint32_t>(static_cast<std::int16_t>(bucket.symbol) - row.first);
    while (slot < cells[number].start) --number;
    while (slot - cells[number].start >= cells[number].frequency) ++number;
    block.symbols[at] = static_cast<std::int16_t>(row.first + static_cast<std::int32_t>(number));
    if (number == row.regular) block.marks[block.marked++] = static_cast<std::uint16_t>(at);
    return cells[number].frequency * (state >> kPrecision) + slot - cells[number].start;
}

// Decodes symbol number `at` of the block; returns the state before its renormalisation.
static inline std::uint32_t take(const View& view, Block& block, std::size_t at, std::uint32_t state) {
    const std::uint32_t slot = state & (kTotal - 1);
    const Bucket bucket = view.buckets[block.rows[at] << kBucketBits | slot >> kBucketShift];
    const std::uint32_t right = slot >= static_cast<std::uint32_t>(bucket.start) + bucket.left;
    const std::uint32_t frequency = pick(right, bucket.right, bucket.left);
    const std::uint32_t rest = slot - bucket.start - pick(right, bucket.left, 0);
    if (rest >= frequency) [[unlikely]]
        return take_missed(view, block, at, state);
    block.symbols[at] = static_cast<std::int16_t>(bucket.symbol + right);
    return frequency * (state >> kPrecision) + rest;
}

// The same and the renormalisation; returns the next word. A word must be readable, even if none is taken.
static inline const std::uint8_t* decode_one(const View& view, std::uint32_t& state, Block& block, std::size_t at,
                                             const std::uint8_t* next) {
    const std::uint32_t taken = take(view, block, at, state);
    const std::uint32_t empty = taken < kLower;
    state = pick(empty, taken << 16 | load_word(next), taken);
    return next + 2 * empty;
}

// What a trellis makes of its state, 0 to 7, when a symbol has been coded.
static constexpr std::uint32_t next_state(std::uint32_t state, std::int32_t symbol) {
    return (kNextStates >> 4 * state & 7) ^ (static_cast<std::uint32_t>(symbol) & 1) << 1;
}

namespace {  // so that no linker merges what several instruction sets have

// How symbols are decoded: each on its own, or by a trellis.
struct Alone {
    static Chains* states() { return nullptr; }
    static void before(Block&, std::size_t) {}
    static void after(Block&, std::size_t) {}
};

struct Following {
    Chains& chains;

    Chains* states() const { return &chains; }
    void before(Block& block, std::size_t at) const {
        block.rows[at] = static_cast<std::uint8_t>(block.rows[at] | (chains.state[at & (chains.count - 1)] & 1) * kTwin);
    }
    void after(Block& block, std::size_t at) const {
        std::uint32_t& state = chains.state[at & (chains.count - 1)];
        state = next_state(state, block.symbols[at]);
    }
};

}  // namespace

struct Range {
    std::size_t first;  // symbol of lane 0
    std::size_t at;     // symbol to begin with
    std::size_t last;
};

template <class Way>
static inline bool decode_from(const View& view, Lanes& lanes, Block& block, Range range, Words& words, Way way) {
    const auto one = [&](std::size_t at, const std::uint8_t* next) {
        way.before(block, at);
        next = decode_one(view, lanes.state[(at - range.first) & (lanes.count - 1)], block, at, next);
        way.after(block, at);
        return next;
    };
    for (std::size_t at = range.at; at < range.last;) {
        const auto left = static_cast<std::size_t>(words.end - words.next) / 2;
        const std::size_t sure = left < range.last - at ? at + left : range.last;  // a symbol takes one word at most
        const std::uint8_t* next = words.next;
        for (; at < sure; ++at) next = one(at, next);
        words.next = next;
        if (left > 0) continue;
        const std::uint8_t none[2] = {};
        if (one(at, none) != none) return false;
        ++at;
    }
    return true;
}

}  // namespace intaglio
