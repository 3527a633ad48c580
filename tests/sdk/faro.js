import { getWebInstrumentations, initializeFaro } from '@grafana/faro-web-sdk'
import { TracingInstrumentation } from '@grafana/faro-web-tracing'
import { shop } from './page.js'

shop(({ collector, query }) => {
  initializeFaro({
    url: `${collector}/collect${query}`,
    apiKey: 'public',
    app: { name: 'faro-shop', version: '1.4.0', environment: 'production' },
    instrumentations: [...getWebInstrumentations({ captureConsole: false }), new TracingInstrumentation()],
  })
})
