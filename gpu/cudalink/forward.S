//go:build cuda

// A function of the driver for each line of symbols.h: a jump to where its slot points. The slots
// lie in the order of symbols.h; load.c fills them in. The address of the slot stays in a register
// that calls may clobber, which tells cudalink_missing which function was called.
//
// All is hidden: libraries that are loaded later, NVIDIA's own among them, must find the driver's
// functions in the driver.

#if defined(__x86_64__)

	.macro jump slot
	lea \slot(%rip), %r11
	jmp *(%r11)
	.endm

	.macro keep slot_address
	mov %r11, \slot_address(%rip)
	.endm

	.macro return code
	mov $\code, %eax
	ret
	.endm

#elif defined(__aarch64__)

	.macro jump slot
	adrp x16, \slot
	add x16, x16, :lo12:\slot
	ldr x17, [x16]
	br x17
	.endm

	.macro keep slot_address
	adrp x17, \slot_address
	str x16, [x17, :lo12:\slot_address]
	.endm

	.macro return code
	mov w0, #\code
	ret
	.endm

#else
#error "CUDA is there on amd64 and arm64 only"
#endif

	.macro function name
	.globl \name
	.hidden \name
	.type \name, %function
\name:
	.endm

	.macro forward name
	.data
slot_\name:
	.quad cudalink_not_loaded
	.text
	function \name
	jump slot_\name
	.endm

	.data
	.balign 8
	.globl cudalink_lacked, cudalink_slots
	.hidden cudalink_lacked, cudalink_slots
cudalink_lacked: // slot of the missing function that was called last
	.quad 0
cudalink_slots:

	.text
	function cudalink_not_loaded
	return 3 // CUDA_ERROR_NOT_INITIALIZED
	function cudalink_missing
	keep cudalink_lacked
	return 500 // CUDA_ERROR_NOT_FOUND

#define SYMBOL(name) forward name
#include "symbols.h"

	.section .note.GNU-stack, "", %progbits
