import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Two servers and their clients share the machine with the tests.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{packages,apps}/*/src/**/*.test.ts',
            'tests/tidy.test.ts',
            'tests/benchmarks-document.test.ts',
          ],
          testTimeout: 60_000,
          expect: { poll: { timeout: 30_000 } },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['{packages,apps}/*/test/**/*.integration.test.ts', 'tests/**/*.integration.test.ts'],
          globalSetup: 'packages/testkit/src/global-setup.ts',
          // Longer than `waitFor` waits: what did not come has a name there, and here none.
          testTimeout: 180_000,
          hookTimeout: 180_000,
          expect: { poll: { timeout: 60_000 } },
        },
      },
    ],
  },
})
