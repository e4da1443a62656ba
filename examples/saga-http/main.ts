/** A saga over two HTTP services. Start a coordinator first: `settle serve`. */
import { connect, from } from 'settle';
import { startServices } from './services.ts';

const settle = connect(process.env['SETTLE_URL'] ?? 'http://127.0.0.1:36789');
const services = await startServices();

for (const user of ['ann', 'bob']) {
  const outcome = await settle
    .saga('place-order')
    .step('reserve', {
      action: `${services.stockUrl}/reserve`,
      compensate: `${services.stockUrl}/reserve`,
      payload: { cups: 2 },
    })
    .step('charge', {
      action: `${services.walletUrl}/charge`,
      payload: { user, total: from('reserve', 'total') },
    })
    .submit({ waitMs: 10_000 });
  const why = outcome.status === 'aborted' ? `: ${outcome.reason}` : '';
  console.log(`${user}: ${outcome.status}${why}; ${services.teaLeft()} cups of tea left`);
}

services.close();
await settle.close();
