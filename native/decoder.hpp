// A stream in, symbols out, slice by slice. docs/format.md defines it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>

#include "bits.hpp"
#include "block.hpp"
#include "scalar.hpp"
#include "tables.hpp"
#include "trellis.hpp"

namespace intaglio {

// Reads `bytes` in place. After an error in the data every further call raises it again.
class Decoder {
public:
    Decoder(std::span<const std::uint8_t> bytes, const Tables& tables, const Kernels& kernels)
        : tables_(tables), kernels_(kernels), bits_(bytes), block_(std::make_unique_for_overwrite<Block>()) {
        if (bytes.empty()) throw FormatError("coded symbols are empty");
        if (bytes[0] >= 2 * kSurpriseFlag) throw FormatError("coded symbols are damaged: unknown kind of stream");
        lanes_.count = std::size_t{1} << (bytes[0] & (kSurpriseFlag - 1));
        if (lanes_.count > kMaxLanes) throw FormatError("coded symbols are damaged: unknown number of lanes");
        bits_ = BitReader(bytes.subspan(1));
        for (std::size_t lane = 0; lane < lanes_.count; ++lane) lanes_.state[lane] = bits_.take_floating();
        main_ = lanes_.count > 1 ? bits_.take_count() : std::numeric_limits<std::uint64_t>::max();
        surprises_ = bytes[0] & kSurpriseFlag;
        if (surprises_) gap_ = bits_.take_gap();
        words_.next = bytes.data() + 1;
    }

    void pull(std::span<const std::uint8_t> rows, std::span<std::int32_t> symbols) {
        pull_slice(rows, symbols, nullptr);
    }

    // A slice that a trellis has quantised: its steps instead of its symbols, see trellis.hpp.
    void follow(std::span<const std::uint8_t> rows, std::span<std::int32_t> steps) {
        Chains chains{};
        chains.count = chain_count(rows.size());
        pull_slice(rows, steps, &chains);
    }

    void finish() {
        const std::lock_guard lock(mutex_);
        check_usable();
        broken_ = true;  // until all is checked
        if (surprises_ || (lanes_.count > 1 && main_ > 0))
            throw FormatError("coded symbols are damaged: symbols are left over");
        if (lanes_.count > 1 && !in_tail_) begin_tail();
        if (words_.next != bits_.end() || !bits_.rest_is_zero())
            throw FormatError("coded symbols are damaged: words are left over");
        const Lanes& last = in_tail_ ? tail_lanes_ : lanes_;
        const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
        if (last.state[0] != kLower || !std::all_of(tail_words_.next, tail_words_.end, is_zero))
            throw FormatError("coded symbols are damaged: a lane ends in the wrong state");
        broken_ = false;
        finished_ = true;
    }

private:
    void check_usable() const {
        if (finished_) throw ArgumentError("the decoder has finished: make a new one");
        if (broken_) throw FormatError("coded symbols are damaged: decoding has failed before");
    }

    void pull_slice(std::span<const std::uint8_t> rows, std::span<std::int32_t> symbols, Chains* chains) {
        const std::lock_guard lock(mutex_);
        check_usable();
        if (symbols.size() != rows.size()) throw ArgumentError("symbols and indexes differ in number");
        check(rows, chains);
        broken_ = true;  // until the slice is through
        for (std::size_t start = 0; start < rows.size(); start += kBlock) {
            const std::size_t size = std::min(rows.size() - start, kBlock);
            take_block(rows.subspan(start, size), symbols.subspan(start, size), chains);
        }
        broken_ = false;
    }

    void check(std::span<const std::uint8_t> rows, const Chains* chains) const {
        check_rows(rows, tables_);
        if (chains) check_twins(rows, tables_);
    }

    void take_block(std::span<const std::uint8_t> rows, std::span<std::int32_t> symbols, Chains* chains) {
        kernels_.select(tables_.view(), rows.data(), rows.size(), *block_);
        check({block_->rows, block_->count}, chains);  // of the block's own copy: the caller's may change
        block_->marked = 0;
        decode(chains);
        kernels_.scatter(*block_, symbols.data(), symbols.size());
        if (has_shifted(*block_, tables_)) {
            Places place(*block_);
            for (std::size_t number = 0; number < block_->count; ++number) {
                std::int32_t& symbol = symbols[place(number)];
                symbol = static_cast<std::int32_t>(symbol + tables_.shift(block_->rows[number]));
            }
        }
        Places place(*block_);
        for (std::size_t i = 0; i < block_->marked; ++i) {
            const std::size_t number = block_->marks[i];
            const std::size_t row = block_->rows[number];
            const std::int64_t first = tables_.first(row);
            symbols[place(number)] = take_extra(first, first + tables_.regular(row) - 1);
        }
        take_surprises(symbols);
        if (chains) to_steps(symbols);
    }

    void to_steps(std::span<std::int32_t> symbols) const {
        const auto range = std::ranges::minmax(symbols);
        if (range.min < -kMostSymbol || range.max > kMostSymbol)
            throw FormatError("coded symbols are damaged: an escape leaves the range of a trellis");
        std::size_t number = 0;
        for (std::size_t word = 0; 64 * word < symbols.size(); ++word) {
            const std::size_t last = std::min<std::size_t>(64, symbols.size() - 64 * word);
            for (std::size_t i = 0; i < last; ++i) {
                const bool coded = block_->coded[word] >> i & 1;
                const bool odd = coded && block_->rows[number] >= kTwin;
                std::int32_t& symbol = symbols[64 * word + i];
                symbol = step_of(symbol, odd);
                number += coded;
            }
        }
    }

    void decode(Chains* chains) {
        const std::size_t main = static_cast<std::size_t>(std::min<std::uint64_t>(main_, block_->count));
        words_.end = bits_.end();
        if (words_.next > words_.end) throw FormatError("coded symbols are damaged: words and bits overlap");
        if (!decode_with(kernels_, lanes_, {0, main}, words_, chains))
            throw FormatError("coded symbols are cut short or damaged: no word left");
        if (lanes_.count == 1) return;
        main_ -= main;
        if (main == block_->count) return;
        if (!in_tail_) begin_tail();
        if (!decode_with(kPortable, tail_lanes_, {main, block_->count}, tail_words_, chains))
            throw FormatError("coded symbols are cut short or damaged: no word left at the end");
    }

    bool decode_with(const Kernels& kernels, Lanes& lanes, Span span, Words& words, Chains* chains) {
        const View view = tables_.view();
        if (chains) return kernels.follow(view, lanes, *block_, *chains, span, words);
        return kernels.decode(view, lanes, *block_, span.first, span.last, words);
    }

    // The last symbols lie in the states that the other symbols leave behind.
    void begin_tail() {
        in_tail_ = true;
        for (std::size_t lane = 0; lane < lanes_.count; ++lane) {
            if (lanes_.state[lane] >> 16 != 1)
                throw FormatError("coded symbols are damaged: a lane ends in the wrong state");
            store_word(tail_bytes_.data() + 2 * lane, lanes_.state[lane]);
        }
        tail_lanes_.count = 1;
        tail_lanes_.state[0] = load_word(tail_bytes_.data()) | load_word(tail_bytes_.data() + 2) << 16;
        if (tail_lanes_.state[0] < kLower) throw FormatError("coded symbols are damaged: a state is out of range");
        tail_words_ = {tail_bytes_.data() + 4, tail_bytes_.data() + 2 * lanes_.count};
    }

    std::int32_t take_extra(std::int64_t low, std::int64_t high) {
        const bool above = bits_.take(1) != 0;
        const auto distance = static_cast<std::int64_t>(bits_.take_gamma());
        const std::int64_t symbol = above ? high + distance : low - distance;
        if (symbol < std::numeric_limits<std::int32_t>::min() || symbol > std::numeric_limits<std::int32_t>::max())
            throw FormatError("coded symbols are damaged: an escape leaves the range of int32");
        return static_cast<std::int32_t>(symbol);
    }

    void take_surprises(std::span<std::int32_t> symbols) {
        const std::size_t certain = symbols.size() - block_->count;
        std::size_t next = 0;  // certain symbol that the gap counts from
        Places place(*block_, ~std::uint64_t{0});
        while (surprises_ && gap_ < certain - next) {
            next += static_cast<std::size_t>(gap_);
            symbols[place(next++)] = take_extra(0, 0);
            surprises_ = bits_.take(1) != 0;
            if (surprises_) gap_ = bits_.take_gap();
        }
        gap_ -= certain - next;
    }

    const Tables& tables_;
    const Kernels& kernels_;
    std::mutex mutex_;
    BitReader bits_;
    Words words_{};
    Lanes lanes_{};
    std::uint64_t main_ = 0;  // coded symbols before the tail
    bool surprises_ = false;  // whether another comes
    std::uint64_t gap_ = 0;   // certain symbols before it
    bool in_tail_ = false;
    Lanes tail_lanes_{};
    Words tail_words_{};
    std::array<std::uint8_t, 2 * kMaxLanes> tail_bytes_{};
    bool broken_ = false;
    bool finished_ = false;
    std::unique_ptr<Block> block_;
};

}  // namespace intaglio
