// `npm test`: everything that has to hold, and one closing line that counts it.
import { Failure, main } from './lib/failure.mjs';
import { install } from './lib/install.mjs';
import { underSuitableNode } from './lib/node.mjs';
import { Tally } from './lib/tally.mjs';
import { runTask } from './lib/tasks.mjs';
import { runTests } from './lib/tests.mjs';

await main(async () => {
  const args = await underSuitableNode();
  if (args.length > 0)
    throw new Failure(`npm test knows only --node; for single files: npm run test:unit -- ${args.join(' ')}`);

  await install();

  const tally = new Tally();
  await tally.check('types', () => runTask('typecheck'));
  await tally.check('lint', () => runTask('lint'));
  await tally.check('format', () => runTask('format:check'));
  await runTests(tally, 'core, with every branch covered', ['--project', 'core', '--coverage']);
  await runTests(tally, 'everything else', ['--project', 'unit', '--project', 'system']);
  await runTests(tally, 'real services', ['--project', 'services']);
  await tally.check('simulator', () => runTask('sim'));
  await tally.check('planted bugs', () => runTask('sim', ['--bugs']));
  await tally.check('packages', () => runTask('check:packages'));
  return tally.close();
});
