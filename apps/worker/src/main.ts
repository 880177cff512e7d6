#!/usr/bin/env node
import { missingHeapFlags } from './heap/config.ts'

// The bin `stepwell-worker`. V8 takes the size of its heap only when it starts, and `npx` passes no flags: so this process starts itself again, in
// its own place, before it has loaded more than this (https://nodejs.org/api/process.html#processexecvefile-args-env). Not on Windows,
// nor under a parent that talks with it by IPC, whose channel would not outlive that: there V8 goes on as it is.
const flags = missingHeapFlags()
if (flags.length > 0 && process.platform !== 'win32' && process.send === undefined)
  process.execve?.(process.execPath, [
    process.execPath,
    ...flags,
    ...process.execArgv,
    ...process.argv.slice(1),
  ])

await import('./program.ts')
