;; A policy that does what a script in its memory says: ScriptBlob (test_blobs.h) puts a data section with the
;; scripts behind it. `parse` follows the one at 64 KiB, `prepare` that at 80 KiB, the others answer properly.
;; A script is a row of steps: a letter, the length of its payload (32 bits), the payload.
(module
  (type $host (func (param i32 i32) (result i64)))
  (import "dvdi" "log" (func $log (type $host)))
  (import "dvdi" "plugin_call" (func $plugin_call (type $host)))
  (import "dvdi" "stage" (func $stage (type $host)))
  (import "dvdi" "query" (func $query (type $host)))
  (import "dvdi" "sleep" (func $sleep (type $host)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 3)
  (global (export "dvdi_abi_1") i32 (i32.const 1))
  (global $heap (mut i32) (i32.const 131072))
  (global $bad_alloc (mut i32) (i32.const 0))

  (func $pack (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))

  (func (export "dvdi_alloc") (param $len i32) (result i32)
    (local $at i32)
    (if (global.get $bad_alloc) (then (return (i32.const 0x7ffffff0))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at) (local.get $len)))
    (block $fits
      (loop $grow
        (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
        (br $grow)))
    (local.get $at))

  (func $recurse (param i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))

  ;; Whether the text [what, what + n) is somewhere in [in, in + len).
  (func $has (param $in i32) (param $len i32) (param $what i32) (param $n i32) (result i32)
    (local $i i32) (local $k i32)
    (block $no
      (loop $next
        (br_if $no (i32.gt_u (i32.add (local.get $i) (local.get $n)) (local.get $len)))
        (local.set $k (i32.const 0))
        (block $differs
          (loop $same
            (if (i32.eq (local.get $k) (local.get $n)) (then (return (i32.const 1))))
            (br_if $differs
              (i32.ne (i32.load8_u (i32.add (i32.add (local.get $in) (local.get $i)) (local.get $k)))
                      (i32.load8_u (i32.add (local.get $what) (local.get $k)))))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br $same)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.const 0))

  (func $run (param $at i32) (param $in i32) (param $in_len i32) (result i64)
    (local $op i32) (local $n i32) (local $p i32)
    (loop $step
      (local.set $op (i32.load8_u (local.get $at)))
      (local.set $n (i32.load align=1 (i32.add (local.get $at) (i32.const 1))))
      (local.set $p (i32.add (local.get $at) (i32.const 5)))
      (local.set $at (i32.add (local.get $p) (local.get $n)))
      (if (i32.eq (local.get $op) (i32.const 97))  ;; a: answer
        (then (return (call $pack (local.get $p) (local.get $n)))))
      (if (i32.eq (local.get $op) (i32.const 99))  ;; c: call plugins
        (then (drop (call $plugin_call (local.get $p) (local.get $n))) (br $step)))
      (if (i32.eq (local.get $op) (i32.const 115))  ;; s: stage
        (then (drop (call $stage (local.get $p) (local.get $n))) (br $step)))
      (if (i32.eq (local.get $op) (i32.const 113))  ;; q: query
        (then (drop (call $query (local.get $p) (local.get $n))) (br $step)))
      (if (i32.eq (local.get $op) (i32.const 119))  ;; w: wait
        (then (drop (call $sleep (local.get $p) (local.get $n))) (br $step)))
      (if (i32.eq (local.get $op) (i32.const 63))  ;; ?: the next step only where the input has this in it
        (then
          (if (i32.eqz (call $has (local.get $in) (local.get $in_len) (local.get $p) (local.get $n)))
            (then
              (local.set $at (i32.add (i32.add (local.get $at) (i32.const 5))
                                      (i32.load align=1 (i32.add (local.get $at) (i32.const 1)))))))
          (br $step)))
      (if (i32.eq (local.get $op) (i32.const 108)) (then (loop $l (br $l))))  ;; l: loop
      (if (i32.eq (local.get $op) (i32.const 114)) (then (drop (call $recurse (i32.const 0)))))  ;; r: recurse
      (if (i32.eq (local.get $op) (i32.const 109))  ;; m: all the memory there is
        (then (loop $l
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
          (br $l))))
      (if (i32.eq (local.get $op) (i32.const 102))  ;; f: flood of host calls
        (then (loop $l (drop (call $log (i32.const 0) (i32.const 9))) (br $l))))
      (if (i32.eq (local.get $op) (i32.const 66))  ;; B: flood of bytes
        (then
          (drop (memory.grow (i32.const 4)))
          (memory.fill (i32.const 200000) (i32.const 32) (i32.const 200000))
          (loop $l (drop (call $log (i32.const 200000) (i32.const 200000))) (br $l))))
      (if (i32.eq (local.get $op) (i32.const 72))  ;; H: an answer of eight mebibytes
        (then
          (drop (memory.grow (i32.const 160)))
          (memory.fill (i32.const 200000) (i32.const 32) (i32.const 8388608))
          (return (call $pack (i32.const 200000) (i32.const 8388608)))))
      (if (i32.eq (local.get $op) (i32.const 112))  ;; p: forged pointer to the host
        (then (return (call $plugin_call (i32.const -16) (i32.const 256)))))
      (if (i32.eq (local.get $op) (i32.const 81))  ;; Q: forged length to the host
        (then (return (call $plugin_call (i32.const 0) (i32.const -1)))))
      (if (i32.eq (local.get $op) (i32.const 80))  ;; P: forged pointer in the answer
        (then (return (call $pack (i32.const -16) (i32.const 256)))))
      (if (i32.eq (local.get $op) (i32.const 76))  ;; L: forged length in the answer
        (then (return (call $pack (i32.const 0) (i32.const 0x7fffffff)))))
      (if (i32.eq (local.get $op) (i32.const 122)) (then (return (i64.const 0))))  ;; z: nothing
      (if (i32.eq (local.get $op) (i32.const 78))  ;; N: no UTF-8
        (then (return (call $pack (i32.const 64) (i32.const 3)))))
      (if (i32.eq (local.get $op) (i32.const 65))  ;; A: from here on it gives bad memory to the host's answers
        (then (global.set $bad_alloc (i32.const 1)) (br $step)))
      (if (i32.eq (local.get $op) (i32.const 98))  ;; b: abort
        (then (call $abort (i32.const 100) (i32.const 132) (i32.const 1) (i32.const 2))))
      (unreachable))
    (unreachable))

  (func $fine (param i32 i32) (result i64) (call $pack (i32.const 0) (i32.const 9)))
  (export "configure" (func $fine))
  (export "cleanup" (func $fine))
  (export "recover" (func $fine))
  (func (export "canary") (param i32 i32) (result i64) (call $pack (i32.const 32) (i32.const 19)))
  (func (export "parse") (param i32 i32) (result i64)
    (call $run (i32.const 65536) (local.get 0) (local.get 1)))
  (func (export "prepare") (param i32 i32) (result i64)
    (call $run (i32.const 81920) (local.get 0) (local.get 1)))
)
