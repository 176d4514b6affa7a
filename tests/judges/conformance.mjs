// Runs http-cache-tests against an edge and writes what became of each test.
// Usage: node conformance.mjs SUITE BASE-URL OUT.json
import { createRequire } from 'node:module'
import { writeFileSync } from 'node:fs'

const [suite, base, out] = process.argv.slice(2)
const { runTests, getResults } = await import(`${suite}/client/runner.mjs`)
const { default: suites } = await import(`${suite}/tests/index.mjs`)
const fetch = createRequire(`${suite}/cli.mjs`)('node-fetch')

await runTests(suites, fetch, false, base)
const results = getResults()
const report = suites.flatMap(({ tests }) => tests).map(({ id, kind }) => {
  const result = results[id]
  const why = result === undefined ? 'not run' : String(result)
  return { id, required: (kind ?? 'required') === 'required', passed: result === true, why }
})
writeFileSync(out, JSON.stringify(report))
