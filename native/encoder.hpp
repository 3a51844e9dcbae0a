// Symbols in, one stream out. docs/format.md defines the stream by its decoder; here the same steps run backwards.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <variant>
#include <vector>

#include "bits.hpp"
#include "block.hpp"
#include "scalar.hpp"
#include "tables.hpp"

namespace intaglio {

inline constexpr std::uint64_t kBitsPerLane = 1100;  // a lane costs 4 bits net: 0.4 % of this
inline constexpr std::uint64_t kSmall = 25000;       // bits of a stream that shall pay few bytes for its lanes
inline constexpr std::size_t kSmallLanes = 4;
inline constexpr std::size_t kSample = 1024;         // symbols whose cost is looked at to choose the lanes

// Collects slices; finish() codes them, last symbol first. Calls from several threads take turns.
class Encoder {
public:
    using Symbols = std::variant<std::span<const std::int16_t>, std::span<const std::int32_t>>;

    Encoder(const Tables& tables, const Kernels& kernels) : tables_(tables), kernels_(kernels) {}

    // Adds a slice; with `borrow`, the arrays must outlive finish().
    template <class Symbol>
    void push(std::span<const Symbol> symbols, std::span<const std::uint8_t> rows, bool borrow = false) {
        const std::lock_guard lock(mutex_);
        if (finished_) throw ArgumentError("the encoder has finished: make a new one");
        if (symbols.size() != rows.size()) throw ArgumentError("symbols and indexes differ in number");
        if (borrow) {
            check_rows(rows, tables_);
            slices_.push_back({rows, symbols, {}});
            return;
        }
        auto bytes = std::make_unique_for_overwrite<std::uint8_t[]>(symbols.size_bytes() + rows.size());
        auto* first = reinterpret_cast<Symbol*>(bytes.get());
        std::copy(symbols.begin(), symbols.end(), first);
        std::copy(rows.begin(), rows.end(), bytes.get() + symbols.size_bytes());
        const std::span<const std::uint8_t> kept(bytes.get() + symbols.size_bytes(), rows.size());
        check_rows(kept, tables_);
        slices_.push_back({kept, std::span<const Symbol>(first, symbols.size()), std::move(bytes)});
    }

    std::vector<std::uint8_t> finish() {
        const std::lock_guard lock(mutex_);
        if (finished_) throw ArgumentError("the encoder has finished: make a new one");
        finished_ = true;
        std::size_t total = 0;
        for (const Slice& slice : slices_) total += slice.rows.size();
        const std::size_t room = 2 * total + kSlack;
        const auto words = std::make_unique_for_overwrite<std::uint8_t[]>(room);
        const std::uint8_t* const end = words.get() + room;
        words_ = words.get() + room;
        lanes_.count = choose_lanes(total);
        std::fill_n(lanes_.state, kMaxLanes, kLower);
        tail_open_ = lanes_.count > 1;
        block_ = std::make_unique_for_overwrite<Block>();
        for (std::size_t number = slices_.size(); number-- > 0;) {
            const std::size_t size = slices_[number].rows.size();
            for (std::size_t start = (size + kBlock - 1) / kBlock * kBlock; start > 0; start -= kBlock)
                code(slices_[number], start - kBlock, std::min(size - (start - kBlock), kBlock));
        }
        if (tail_open_) close_tail();
        slices_.clear();
        return serialise({words_, end});
    }

private:
    struct Slice {
        std::span<const std::uint8_t> rows;
        Symbols symbols;
        std::unique_ptr<std::uint8_t[]> owner;

        std::int64_t symbol(std::size_t at) const {
            return std::visit([at](auto span) { return std::int64_t{span[at]}; }, symbols);
        }
    };

    // What the words do not say.
    struct Extra {
        std::uint64_t distance;  // of an escape from its table's edge, of a surprise from zero
        bool above;
        bool surprise;
        std::uint64_t after;  // certain symbols between a surprise and the end of the stream
    };

    std::size_t choose_lanes(std::size_t total) const {
        const std::size_t stride = std::max<std::size_t>(1, total / kSample);
        std::uint64_t cost = 0;
        std::size_t next = 0;  // place of the next sample in the slice
        for (const Slice& slice : slices_) {
            for (; next < slice.rows.size(); next += stride) {
                const std::uint8_t row = slice.rows[next];
                check_rows({&row, 1}, tables_);  // borrowed ones may have changed since they came
                cost += tables_.cost(row, slice.symbol(next));
            }
            next -= slice.rows.size();
        }
        const std::uint64_t bits = cost * stride >> 8;
        const std::size_t most = bits < kSmall ? kSmallLanes : kMaxLanes;
        std::size_t lanes = 1;
        while (lanes < most && bits >= 2 * lanes * kBitsPerLane) lanes *= 2;
        return lanes;
    }

    void code(const Slice& slice, std::size_t start, std::size_t size) {
        kernels_.select(tables_.view(), slice.rows.data() + start, size, *block_);
        check_rows({block_->rows, block_->count}, tables_);  // as above, now of the block's own copy
        gather(slice, start, size);
        for (std::size_t i = block_->marked; i-- > 0;) {
            const std::size_t place = block_->marks[i];
            const std::size_t before = place - coded_before(*block_, place);
            add_extra(slice.symbol(start + place), 0, 0);
            extras_.back().surprise = true;
            extras_.back().after = certain_ + (size - block_->count - before) - 1;
        }
        certain_ += size - block_->count;
        block_->marked = 0;
        const std::size_t rest = tail_open_ ? code_tail() : block_->count;
        words_ = kernels_.encode(tables_.view(), lanes_, *block_, rest, words_);
        main_ += rest;
        const std::span numbers(block_->marks, block_->marked);
        std::vector<std::size_t> places(numbers.size());
        std::transform(numbers.rbegin(), numbers.rend(), places.rbegin(), Places(*block_));
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            const std::size_t row = block_->rows[numbers[i]];
            const std::int64_t first = tables_.first(row);
            add_extra(slice.symbol(start + places[i]), first, first + tables_.regular(row) - 1);
        }
    }

    void gather(const Slice& slice, std::size_t start, std::size_t size) {
        if (has_shifted(*block_, tables_)) {
            const auto clamped = [](std::int64_t moved) {
                return static_cast<std::int32_t>(std::clamp<std::int64_t>(moved, INT32_MIN, INT32_MAX));
            };
            shifted_.resize(size);
            for (std::size_t i = 0; i < size; ++i) shifted_[i] = clamped(slice.symbol(start + i));
            Places place(*block_);
            for (std::size_t number = 0; number < block_->count; ++number) {
                std::int32_t& symbol = shifted_[place(number)];
                symbol = clamped(symbol - tables_.shift(block_->rows[number]));
            }
            kernels_.gather32(shifted_.data(), size, *block_);
        } else if (const auto* wide = std::get_if<std::span<const std::int32_t>>(&slice.symbols)) {
            kernels_.gather32(wide->data() + start, size, *block_);
        } else {
            kernels_.gather16(std::get<0>(slice.symbols).data() + start, size, *block_);
        }
    }

    void add_extra(std::int64_t symbol, std::int64_t low, std::int64_t high) {
        const bool above = symbol > high;
        extras_.push_back({static_cast<std::uint64_t>(above ? symbol - high : low - symbol), above, false, 0});
    }

    // The stream's last symbols go to a lane of their own, as many as the start states of the others can hold.
    // Returns how many symbols of the block are left.
    std::size_t code_tail() {
        for (std::size_t at = block_->count; at-- > 0;) {
            const std::size_t marked = block_->marked;
            const Cell& cell = cell_of(tables_.view(), *block_, at);
            if (overflows(cell, tail_state_)) {
                if (tail_.size() + 2 == lanes_.count) {
                    block_->marked = marked;  // this one stays
                    close_tail();
                    return at + 1;
                }
                tail_.push_back(static_cast<std::uint16_t>(tail_state_));
                tail_state_ >>= 16;
            }
            tail_state_ = put(cell, tail_state_);
        }
        return 0;
    }

    void close_tail() {
        tail_.push_back(static_cast<std::uint16_t>(tail_state_ >> 16));
        tail_.push_back(static_cast<std::uint16_t>(tail_state_));
        for (std::size_t lane = 0; lane < tail_.size(); ++lane) lanes_.state[lane] |= tail_[tail_.size() - 1 - lane];
        tail_open_ = false;
    }

    std::vector<std::uint8_t> serialise(std::span<const std::uint8_t> words) const {
        const auto surprises = std::ranges::count_if(extras_, &Extra::surprise);
        BitWriter bits;
        for (std::size_t lane = 0; lane < lanes_.count; ++lane) bits.put_floating(lanes_.state[lane]);
        if (lanes_.count > 1) bits.put_count(main_);
        write_extras(bits, static_cast<std::size_t>(surprises));
        std::vector<std::uint8_t> bytes;
        bytes.reserve(1 + words.size() + bits.bytes().size());
        bytes.push_back(static_cast<std::uint8_t>(std::countr_zero(lanes_.count) | (surprises ? kSurpriseFlag : 0)));
        bytes.insert(bytes.end(), words.begin(), words.end());
        bytes.insert(bytes.end(), bits.bytes().rbegin(), bits.bytes().rend());
        return bytes;
    }

    void write_extras(BitWriter& bits, std::size_t surprises) const {
        std::uint64_t next = 0;  // certain symbol after the last surprise
        const auto put_gap = [&](auto from) {
            const auto found = std::find_if(from, extras_.rend(), [](const Extra& extra) { return extra.surprise; });
            const std::uint64_t at = certain_ - 1 - found->after;
            bits.put_gap(at - next);
            next = at + 1;
        };
        if (surprises > 0) put_gap(extras_.rbegin());
        for (auto extra = extras_.rbegin(); extra != extras_.rend(); ++extra) {
            bits.put(extra->above, 1);
            bits.put_gamma(extra->distance);
            if (!extra->surprise) continue;
            bits.put(--surprises > 0, 1);
            if (surprises > 0) put_gap(extra + 1);
        }
    }

    const Tables& tables_;
    const Kernels& kernels_;
    std::mutex mutex_;
    std::vector<Slice> slices_;
    bool finished_ = false;
    Lanes lanes_{};
    std::unique_ptr<Block> block_;
    std::vector<std::int32_t> shifted_;
    std::uint8_t* words_ = nullptr;      // lowest word so far
    std::uint64_t main_ = 0;             // coded symbols that are not in the tail
    std::uint64_t certain_ = 0;          // symbols not coded
    std::vector<Extra> extras_;          // last one first
    bool tail_open_ = false;
    std::uint32_t tail_state_ = kLower;
    std::vector<std::uint16_t> tail_;    // last word first
};

}  // namespace intaglio
