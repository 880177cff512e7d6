;; Writes a text as JSON in one pass, sixteen bytes at a time, unless it may hold a secret or must be cleaned. What is looked for stands in
;; tables, which harmless-text.ts fills. A table of windows (Hyperscan's Teddy, https://www.usenix.org/system/files/nsdi19-wang-xiang.pdf) has for each of
;; four bytes two rows of sixteen: in which windows that byte may have these lower, and these upper, four bits. A bit is a bucket of
;; windows: where one stays in all eight rows there is such a window, or one that is mixed of those in its bucket.
(module
  ;; 0: windows in eight buckets; 128, 256: the same in sixteen; 384: two rows, what JSON escapes and @; 512: for each of 96 letters
  ;; eight bytes, how JSON writes it and last how long that is, 0 for what must be cleaned. 2048: the text, as UTF-8. 204800: JSON.
  (memory (export "memory") 10 10)

  ;; The windows that begin in these sixteen bytes, by their buckets.
  (func $windows (param $at i32) (param $table i32) (result v128)
    (local $bytes v128) (local $low v128) (local $found v128)
    (local.set $low (i8x16.splat (i32.const 15)))
    (local.set $bytes (v128.load (local.get $at)))
    (local.set $found (v128.and
      (i8x16.swizzle (v128.load (local.get $table)) (v128.and (local.get $bytes) (local.get $low)))
      (i8x16.swizzle (v128.load offset=16 (local.get $table)) (i8x16.shr_u (local.get $bytes) (i32.const 4)))))
    (local.set $bytes (v128.load offset=1 (local.get $at)))
    (local.set $found (v128.and (local.get $found) (v128.and
      (i8x16.swizzle (v128.load offset=32 (local.get $table)) (v128.and (local.get $bytes) (local.get $low)))
      (i8x16.swizzle (v128.load offset=48 (local.get $table)) (i8x16.shr_u (local.get $bytes) (i32.const 4))))))
    (local.set $bytes (v128.load offset=2 (local.get $at)))
    (local.set $found (v128.and (local.get $found) (v128.and
      (i8x16.swizzle (v128.load offset=64 (local.get $table)) (v128.and (local.get $bytes) (local.get $low)))
      (i8x16.swizzle (v128.load offset=80 (local.get $table)) (i8x16.shr_u (local.get $bytes) (i32.const 4))))))
    (local.set $bytes (v128.load offset=3 (local.get $at)))
    (v128.and (local.get $found) (v128.and
      (i8x16.swizzle (v128.load offset=96 (local.get $table)) (v128.and (local.get $bytes) (local.get $low)))
      (i8x16.swizzle (v128.load offset=112 (local.get $table)) (i8x16.shr_u (local.get $bytes) (i32.const 4))))))

  ;; Gives the length of the JSON text, its quotes included; its complement (~) if there is an @; -1 if the text may hold a secret or must be cleaned.
  (func (export "write") (param $length i32) (result i32)
    (local $from i32) (local $end i32) (local $to i32)
    (local $low v128) (local $bytes v128) (local $lower v128) (local $upper v128) (local $found v128)
    (local $escaped v128) (local $places i32) (local $copied i32) (local $letter i32) (local $has_at i32)
    (local.set $low (i8x16.splat (i32.const 15)))
    (local.set $from (i32.const 2048))
    (local.set $end (i32.add (local.get $from) (local.get $length)))
    (local.set $to (i32.const 204801))
    ;; What is read behind the end are spaces.
    (v128.store (local.get $end) (i8x16.splat (i32.const 32)))
    (v128.store offset=16 (local.get $end) (i8x16.splat (i32.const 32)))
    (loop $next
      (if (i32.lt_u (local.get $from) (local.get $end)) (then
        ;; In eight buckets one in fifty of such pieces has one, in sixteen one in four hundred, nearly all of them to be found.
        (local.set $bytes (v128.load (local.get $from)))
        (v128.store (local.get $to) (local.get $bytes))
        (local.set $lower (v128.and (local.get $bytes) (local.get $low)))
        (local.set $upper (i8x16.shr_u (local.get $bytes) (i32.const 4)))
        (if (v128.any_true (call $windows (local.get $from) (i32.const 0))) (then
          (if (v128.any_true (v128.or
            (call $windows (local.get $from) (i32.const 128))
            (call $windows (local.get $from) (i32.const 256)))) (then (return (i32.const -1))))))
        (local.set $copied (i32.const 0))
        (local.set $escaped (v128.and
          (i8x16.swizzle (v128.load (i32.const 384)) (local.get $lower))
          (i8x16.swizzle (v128.load (i32.const 400)) (local.get $upper))))
        (if (v128.any_true (local.get $escaped)) (then
          (local.set $places (i8x16.bitmask (i8x16.ne (local.get $escaped) (i8x16.splat (i32.const 0)))))
          ;; What stands before it is written; then it, and all that follows it as if nothing else were escaped.
          (loop $escape
            (local.set $letter (i32.add (local.get $from) (i32.ctz (local.get $places))))
            (local.set $to (i32.add (local.get $to) (i32.sub (i32.ctz (local.get $places)) (local.get $copied))))
            (local.set $copied (i32.add (i32.ctz (local.get $places)) (i32.const 1)))
            (local.set $letter (i32.load8_u (local.get $letter)))
            (local.set $has_at (i32.or (local.get $has_at) (i32.eq (local.get $letter) (i32.const 64))))
            (local.set $letter (i32.shl (local.get $letter) (i32.const 3)))
            (i64.store (local.get $to) (i64.load offset=512 (local.get $letter)))
            (if (i32.eqz (i32.load8_u offset=519 (local.get $letter))) (then (return (i32.const -1))))
            (local.set $to (i32.add (local.get $to) (i32.load8_u offset=519 (local.get $letter))))
            (v128.store (local.get $to) (v128.load (i32.add (local.get $from) (local.get $copied))))
            (local.set $places (i32.and (local.get $places) (i32.sub (local.get $places) (i32.const 1))))
            (br_if $escape (local.get $places)))))
        (local.set $to (i32.add (local.get $to) (i32.sub (i32.const 16) (local.get $copied))))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))
        (br $next))))
    ;; Without what was read behind the end.
    (local.set $to (i32.sub (local.get $to) (i32.sub (local.get $from) (local.get $end))))
    (i32.store8 (i32.const 204800) (i32.const 34))
    (i32.store8 (local.get $to) (i32.const 34))
    (i32.xor
      (i32.sub (local.get $to) (i32.const 204799))
      (i32.sub (i32.const 0) (local.get $has_at)))))
