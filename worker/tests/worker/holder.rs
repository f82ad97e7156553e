//! A holder of segments that passes a real one's answers on, with faults.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};
use vivat_proto::error::status;
use vivat_proto::v1;
use vivat_proto::v1::error_detail::Kind;
use vivat_proto::v1::segment_service_client::SegmentServiceClient;
use vivat_proto::v1::segment_service_server::{SegmentService, SegmentServiceServer};

/// Bytes of one message: small, so that a segment has several.
const PIECE_BYTES: usize = 1_000;

/// What goes wrong with one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The stream breaks after so many bytes of it.
    CutAfter(usize),
    /// That byte of the answer is another.
    Flip(usize),
    /// It does not have it.
    Gone,
    /// It does not answer.
    Unavailable,
}

/// A running faulty holder.
#[derive(Debug)]
pub struct FaultyHolder {
    pub address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The real holder.
    origin: String,
    /// For the orders to come; after the last one, the last one again.
    faults: Mutex<VecDeque<Fault>>,
    requests: Mutex<Vec<v1::FetchSegmentsRequest>>,
    streams: AtomicUsize,
}

impl FaultyHolder {
    pub async fn start(origin: &str, faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            origin: origin.to_owned(),
            faults: Mutex::new(faults.into_iter().collect()),
            requests: Mutex::default(),
            streams: AtomicUsize::new(0),
        });
        let service = SegmentServiceServer::new(Service(shared.clone()));
        let incoming = TcpIncoming::from(listener);
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming),
        );
        Self { address, shared }
    }

    pub fn requests(&self) -> Vec<v1::FetchSegmentsRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Streams that were opened so far.
    pub fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::Relaxed)
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        *self.shared.faults.lock().unwrap() = VecDeque::from([Fault::None]);
    }
}

#[derive(Debug)]
struct Service(Arc<Shared>);

type Answer = Result<v1::FetchSegmentsResponse, Status>;

/// Passes the answer to one order on in small messages, until the fault strikes.
async fn pass_on(
    mut stream: Streaming<v1::FetchSegmentsResponse>,
    (order, fault): (u64, Fault),
    answers: &mpsc::Sender<Answer>,
) -> Result<(), Status> {
    let mut sent = 0;
    while let Some(message) = stream.message().await? {
        let mut announced = message.segment_bytes;
        let mut data = message.data.to_vec();
        if let Fault::Flip(at) = fault
            && (sent..sent + data.len()).contains(&at)
        {
            data[at - sent] ^= 1;
        }
        let pieces = data.chunks(PIECE_BYTES);
        let none: &[u8] = &[];
        let pieces: Vec<_> = if data.is_empty() {
            vec![none]
        } else {
            pieces.collect()
        };
        for piece in pieces {
            if let Fault::CutAfter(bytes) = fault
                && sent >= bytes
            {
                return Err(Status::unavailable("cut"));
            }
            sent += piece.len();
            let answer = v1::FetchSegmentsResponse {
                position: message.position,
                segment_bytes: announced.take(),
                data: piece.to_vec().into(),
                order,
            };
            if answers.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Shared {
    async fn answer(
        &self,
        order: u64,
        request: v1::FetchSegmentsRequest,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), Status> {
        self.requests.lock().unwrap().push(request.clone());
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            if faults.len() > 1 {
                faults.pop_front().unwrap()
            } else {
                faults[0]
            }
        };
        match fault {
            Fault::Unavailable => return Err(Status::unavailable("not today")),
            Fault::Gone => {
                let gone = Kind::SegmentGone(v1::SegmentGone {});
                return Err(status(Code::NotFound, "gone", gone));
            }
            Fault::None | Fault::CutAfter(_) | Fault::Flip(_) => {}
        }
        let origin = format!("http://{}", self.origin);
        let mut client = SegmentServiceClient::connect(origin).await.unwrap();
        let stream = client.fetch_segments(tokio_stream::once(request)).await?;
        pass_on(stream.into_inner(), (order, fault), answers).await
    }
}

#[tonic::async_trait]
impl SegmentService for Service {
    type FetchSegmentsStream = ReceiverStream<Answer>;

    async fn fetch_segments(
        &self,
        request: Request<Streaming<v1::FetchSegmentsRequest>>,
    ) -> Result<Response<Self::FetchSegmentsStream>, Status> {
        let (shared, mut orders) = (self.0.clone(), request.into_inner());
        shared.streams.fetch_add(1, Ordering::Relaxed);
        let (answers, answered) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(order)) = orders.message().await {
                if let Err(refusal) = shared.answer(number, order, &answers).await {
                    let _ = answers.send(Err(refusal)).await;
                    return;
                }
                number += 1;
            }
        });
        Ok(Response::new(ReceiverStream::new(answered)))
    }

    async fn probe_segments(
        &self,
        _request: Request<v1::ProbeSegmentsRequest>,
    ) -> Result<Response<v1::ProbeSegmentsResponse>, Status> {
        Err(Status::unimplemented("nobody probes here"))
    }
}
