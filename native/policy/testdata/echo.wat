;; `configure` answers {"ok": INPUT}: what the policy was given becomes its configuration.
(module
  (memory (export "memory") 4)
  (global (export "dvdi_abi_1") i32 (i32.const 1))
  (data (i32.const 0) "{\"ok\":{\"checks\":1}}")
  (func (export "dvdi_alloc") (param i32) (result i32) (i32.const 1024))
  (func $echo (export "configure") (param i32 i32) (result i64)
    (i32.store (i32.const 1018) (i32.const 0x6b6f227b))  ;; {"ok
    (i32.store16 (i32.const 1022) (i32.const 0x3a22))    ;; ":
    (i32.store8 (i32.add (i32.const 1024) (local.get 1)) (i32.const 0x7d))  ;; }
    (i64.or (i64.shl (i64.const 1018) (i64.const 32))
            (i64.extend_i32_u (i32.add (local.get 1) (i32.const 7)))))
  (export "parse" (func $echo))
  (export "prepare" (func $echo))
  (export "cleanup" (func $echo))
  (export "recover" (func $echo))
  (func (export "canary") (param i32 i32) (result i64) (i64.const 19)))
