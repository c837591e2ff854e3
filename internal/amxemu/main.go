//go:build linux && amd64

// Command amxemu runs a program on a processor without AMX, and executes its AMX
// instructions for it, so that kernels can be tested anywhere. It is for
//
//	go test -overlay overlay.json -exec amxemu
//
// where the overlay replaces internal/isa/amx_linux.go by testdata/amx_linux.go,
// which says that there are tiles; see .ci/run.
//
// It traces the program with ptrace. An AMX instruction is illegal and stops its
// thread; amxemu does what section 3.3 of the Intel Architecture Instruction Set
// Extensions Programming Reference (319433) says the instruction does, and lets the
// thread go on after it. Instructions that the hardware would refuse stay illegal.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: amxemu program [arguments]")
		os.Exit(2)
	}
	signal.Ignore(os.Interrupt) // for the program, which is in the same group
	code, err := run(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "amxemu:", err)
		os.Exit(2)
	}
	os.Exit(code)
}

// run runs a program to its end and returns its exit status.
func run(name string, args []string) (int, error) {
	runtime.LockOSThread() // which alone may trace
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	main := cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(main, &status, 0, nil); err != nil { // for its exec
		return 0, err
	}
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(main, options); err != nil {
		return 0, err
	}
	if err := unix.PtraceCont(main, 0); err != nil {
		return 0, err
	}

	threads := map[int]*thread{}
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if status.Exited() || status.Signaled() {
			delete(threads, tid)
			if tid != main {
				continue
			}
			if status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return status.ExitStatus(), nil
		}
		deliver := status.StopSignal()
		if threads[tid] == nil {
			threads[tid] = &thread{tid: tid}
			if deliver == unix.SIGSTOP { // how a new thread begins
				deliver = 0
			}
		}
		switch deliver {
		case unix.SIGTRAP:
			deliver = 0
		case unix.SIGILL:
			deliver = threads[tid].emulate()
		}
		// ESRCH: it was killed in the meantime, which Wait4 will tell.
		if err := unix.PtraceCont(tid, int(deliver)); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, err
		}
	}
}

// A thread is one thread of the program, and the tiles that it has.
type thread struct {
	tid   int
	tiles tiles
}

// emulate executes the AMX instructions from the thread's program counter on. It
// returns the signal to deliver: 0 if there was one, and what the hardware would
// raise otherwise.
func (t *thread) emulate() unix.Signal {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(t.tid, &regs); err != nil {
		return unix.SIGILL
	}
	registers := [16]uint64{regs.Rax, regs.Rcx, regs.Rdx, regs.Rbx, regs.Rsp, regs.Rbp, regs.Rsi, regs.Rdi,
		regs.R8, regs.R9, regs.R10, regs.R11, regs.R12, regs.R13, regs.R14, regs.R15}
	start := regs.Rip
	for {
		var code [maxLength]byte // as long as the longest; memory for it follows the end of a function
		if t.read([][]byte{code[:]}, regs.Rip, 0) != nil {
			break
		}
		i, ok := decode(code[:], &registers)
		if !ok {
			break
		}
		if err := t.tiles.execute(i, t); err != nil {
			fmt.Fprintf(os.Stderr, "amxemu: %v at %#x: %v\n", i.name, regs.Rip, err)
			if errors.Is(err, errFault) {
				return unix.SIGSEGV
			}
			return unix.SIGILL
		}
		regs.Rip += uint64(i.length)
	}
	if regs.Rip == start {
		return unix.SIGILL
	}
	if err := unix.PtraceSetRegs(t.tid, &regs); err != nil {
		return unix.SIGILL
	}
	return 0
}

// read and write copy rows of bytes from and to the memory of the program, which
// are stride apart there. They implement memory.
func (t *thread) read(rows [][]byte, address, stride uint64) error {
	return t.transfer(unix.ProcessVMReadv, rows, address, stride)
}

func (t *thread) write(rows [][]byte, address, stride uint64) error {
	return t.transfer(unix.ProcessVMWritev, rows, address, stride)
}

func (t *thread) transfer(call func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error), rows [][]byte, address, stride uint64) error {
	local, remote, size := make([]unix.Iovec, len(rows)), make([]unix.RemoteIovec, len(rows)), 0
	for i, row := range rows {
		local[i].Base = &row[0]
		local[i].SetLen(len(row))
		remote[i] = unix.RemoteIovec{Base: uintptr(address + uint64(i)*stride), Len: len(row)}
		size += len(row)
	}
	if n, err := call(t.tid, local, remote, 0); err != nil || n < size {
		return errFault
	}
	return nil
}
