;; A policy that misbehaves on demand: `prepare` does what the first byte of its input says; the others answer
;; properly. The manifest is appended by the test.
(module
  (type $host (func (param i32 i32) (result i64)))
  (import "dvdi" "log" (func $log (type $host)))
  (import "dvdi" "plugin_call" (func $plugin_call (type $host)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (global (export "dvdi_abi_1") i32 (i32.const 1))
  (global $heap (mut i32) (i32.const 8192))
  (global $alloc_mode (mut i32) (i32.const 0))
  (global $calls (mut i32) (i32.const 48))
  (table 4 funcref)
  (elem (i32.const 0) $alloc)
  (data (i32.const 0) "{\"ok\":{}}")
  (data (i32.const 32) "{\"ok\":{\"checks\":3}}")
  (data (i32.const 64) "\ff\fe\fd")
  ;; AssemblyScript strings: byte length, then UTF-16. "no\1b[1m ♥ 😀" and "a.ts".
  (data (i32.const 96) "\16\00\00\00n\00o\00\1b\00[\001\00m\00 \00\65\26 \00\3d\d8\00\de")
  (data (i32.const 128) "\08\00\00\00a\00.\00t\00s\00")

  (func $pack (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))

  (func $alloc (export "dvdi_alloc") (param $len i32) (result i32)
    (local $at i32)
    (if (i32.eq (local.get $len) (i32.const 7777)) (then (return (i32.const -16))))
    (if (i32.eq (local.get $len) (i32.const 7778)) (then (unreachable)))
    (if (i32.eq (global.get $alloc_mode) (i32.const 1)) (then (unreachable)))
    (if (i32.eq (global.get $alloc_mode) (i32.const 2)) (then (return (i32.const 0x7ffffff0))))
    (if (i32.eq (global.get $alloc_mode) (i32.const 3))
      (then  ;; the answer goes into memory that was not there when the host was called
        (return (i32.mul (memory.grow (i32.const 40)) (i32.const 65536)))))
    (if (i32.eq (global.get $alloc_mode) (i32.const 4))
      (then (drop (call $log (i32.const 0) (i32.const 9)))))
    (if (i32.eq (global.get $alloc_mode) (i32.const 5)) (then (loop $l (br $l))))
    (if (i32.eq (global.get $alloc_mode) (i32.const 6))
      (then (call $abort (i32.const 100) (i32.const 132) (i32.const 7) (i32.const 8))))
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
  ;; Host calls out of an ever deeper stack.
  (func $recurse_with_calls (param i32) (result i32)
    (drop (call $log (i32.const 0) (i32.const 9)))
    (i32.add (i32.const 1) (call $recurse_with_calls (i32.add (local.get 0) (i32.const 1)))))

  (func $fine (param i32 i32) (result i64) (call $pack (i32.const 0) (i32.const 9)))
  (export "configure" (func $fine))
  (export "cleanup" (func $fine))
  ;; An import under the name of an export: the host calls itself.
  (export "recover" (func $log))
  (func (export "parse") (param i32 i32) (result i64) (call $pack (local.get 0) (local.get 1)))
  (func (export "canary") (param i32 i32) (result i64) (call $pack (i32.const 32) (i32.const 19)))

  (func (export "prepare") (param $ptr i32) (param $len i32) (result i64)
    (local $mode i32) (local $answer i64)
    (local.set $mode (i32.load8_u (local.get $ptr)))
    (if (i32.eq (local.get $mode) (i32.const 101))  ;; e: echo
      (then (return (call $pack (local.get $ptr) (local.get $len)))))
    (if (i32.eq (local.get $mode) (i32.const 99))  ;; c: how often this instance was asked so, as a digit
      (then
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 256) (global.get $calls))
        (return (call $pack (i32.const 256) (i32.const 1)))))
    (if (i32.eq (local.get $mode) (i32.const 104))  ;; h: the host's answer to the rest of the input
      (then (return (call $plugin_call (i32.add (local.get $ptr) (i32.const 1))
                                       (i32.sub (local.get $len) (i32.const 1))))))
    (if (i32.eq (local.get $mode) (i32.const 108)) (then (loop $l (br $l))))  ;; l: loop
    (if (i32.eq (local.get $mode) (i32.const 115))  ;; s: fill memory for ever
      (then (loop $l (memory.fill (i32.const 8192) (i32.const 0) (i32.const 100000)) (br $l))))
    (if (i32.eq (local.get $mode) (i32.const 83))  ;; S: ask for memory for ever
      (then (loop $l (drop (memory.grow (i32.const 60000))) (br $l))))
    (if (i32.eq (local.get $mode) (i32.const 114))  ;; r: recursion
      (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $mode) (i32.const 105))  ;; i: recursion with host calls
      (then (drop (call $recurse_with_calls (i32.const 0)))))
    (if (i32.eq (local.get $mode) (i32.const 109))  ;; m: memory bomb
      (then (loop $l
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $l))))
    (if (i32.eq (local.get $mode) (i32.const 107))  ;; k: much memory, but allowed
      (then (drop (memory.grow (i32.const 500))) (i32.store (i32.const 32000000) (i32.const 1))
            (return (call $fine (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $mode) (i32.const 117)) (then (unreachable)))  ;; u
    (if (i32.eq (local.get $mode) (i32.const 111))  ;; o: out of bounds
      (then (drop (i32.load (i32.const -4)))))
    (if (i32.eq (local.get $mode) (i32.const 100))  ;; d: division by zero
      (then (drop (i32.div_u (local.get $len) (i32.const 0)))))
    (if (i32.eq (local.get $mode) (i32.const 118))  ;; v: integer overflow
      (then (drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))))
    (if (i32.eq (local.get $mode) (i32.const 116))  ;; t: call of a null entry
      (then (drop (call_indirect (type $host) (i32.const 0) (i32.const 0) (i32.const 2)))))
    (if (i32.eq (local.get $mode) (i32.const 84))  ;; T: call with another type
      (then (drop (call_indirect (type $host) (i32.const 0) (i32.const 0) (i32.const 0)))))
    (if (i32.eq (local.get $mode) (i32.const 73))  ;; I: call past the table
      (then (drop (call_indirect (type $host) (i32.const 0) (i32.const 0) (i32.const 99)))))
    (if (i32.eq (local.get $mode) (i32.const 102))  ;; f: flood of host calls
      (then (loop $l (drop (call $log (i32.const 0) (i32.const 9))) (br $l))))
    (if (i32.eq (local.get $mode) (i32.const 66))  ;; B: flood of bytes
      (then
        (memory.fill (i32.const 8192) (i32.const 32) (i32.const 100000))
        (loop $l (drop (call $log (i32.const 8192) (i32.const 100000))) (br $l))))
    (if (i32.eq (local.get $mode) (i32.const 112))  ;; p: forged pointer to the host
      (then (return (call $log (i32.const -16) (i32.const 256)))))
    (if (i32.eq (local.get $mode) (i32.const 113))  ;; q: forged length to the host
      (then (return (call $log (i32.const 0) (i32.const -1)))))
    (if (i32.eq (local.get $mode) (i32.const 110))  ;; n: request that is not UTF-8
      (then (return (call $log (i32.const 64) (i32.const 3)))))
    (if (i32.eq (local.get $mode) (i32.const 80))  ;; P: forged pointer in the answer
      (then (return (call $pack (i32.const -16) (i32.const 256)))))
    (if (i32.eq (local.get $mode) (i32.const 76))  ;; L: forged length in the answer
      (then (return (call $pack (i32.const 0) (i32.const -1)))))
    (if (i32.eq (local.get $mode) (i32.const 77))  ;; M: an answer that ends one byte past the memory
      (then (return (call $pack (i32.const 0x1fff0) (i32.const 17)))))
    (if (i32.eq (local.get $mode) (i32.const 122)) (then (return (i64.const 0))))  ;; z: nothing
    (if (i32.eq (local.get $mode) (i32.const 78))  ;; N: answer that is not UTF-8
      (then (return (call $pack (i32.const 64) (i32.const 3)))))
    (if (i32.eq (local.get $mode) (i32.const 65))  ;; A: abort
      (then (call $abort (i32.const 100) (i32.const 132) (i32.const 12) (i32.const 34))))
    (if (i32.eq (local.get $mode) (i32.const 70))  ;; F: abort with forged strings
      (then (call $abort (i32.const -2) (i32.const 0x20000) (i32.const -1) (i32.const 0))))
    (if (i32.and (i32.ge_u (local.get $mode) (i32.const 49)) (i32.le_u (local.get $mode) (i32.const 54)))
      (then  ;; 1 to 6: dvdi_alloc misbehaves when the host answers
        (global.set $alloc_mode (i32.sub (local.get $mode) (i32.const 48)))
        (return (call $log (i32.const 0) (i32.const 9)))))
    (call $fine (i32.const 0) (i32.const 0))))
