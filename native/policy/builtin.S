// The stock blob, as bytes of the library.
    .section .rodata
    .balign 16
    .globl dvdi_builtin_policy
    .hidden dvdi_builtin_policy
    .globl dvdi_builtin_policy_end
    .hidden dvdi_builtin_policy_end
dvdi_builtin_policy:
    .incbin DVDI_BUILTIN_POLICY_FILE
dvdi_builtin_policy_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
