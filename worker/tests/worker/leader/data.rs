//! What the fake leader does about blocks: it records what workers say of them, and
//! asks for none.

use tonic::{Request, Response, Status};
use vivat_proto::v1;
use vivat_proto::v1::data_service_server::DataService;

use super::Service;

fn unused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("nobody asks for it here"))
}

#[tonic::async_trait]
impl DataService for Service {
    async fn report_blocks(
        &self,
        request: Request<v1::ReportBlocksRequest>,
    ) -> Result<Response<v1::ReportBlocksResponse>, Status> {
        let request = request.into_inner();
        let answer = self.change(request.worker, |state| {
            let mut answer = v1::ReportBlocksResponse::default();
            for summary in &request.blocks {
                let id = summary.block.unwrap();
                if state.remove.contains(&id.into()) {
                    answer.remove.push(id);
                } else {
                    answer.unknown.push(id);
                }
            }
            state.pages.push(request.clone());
            answer
        })?;
        Ok(Response::new(answer))
    }

    async fn report_lost_blocks(
        &self,
        request: Request<v1::ReportLostBlocksRequest>,
    ) -> Result<Response<v1::ReportLostBlocksResponse>, Status> {
        let request = request.into_inner();
        let is_lost = self.change(request.worker, |state| {
            if state.lost_answers_to_lose > 0 {
                state.lost_answers_to_lose -= 1;
                return true;
            }
            let blocks = request.blocks.iter().copied().map(Into::into).collect();
            state
                .lost_blocks
                .push((request.worker.unwrap().epoch, blocks));
            false
        })?;
        if is_lost {
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(v1::ReportLostBlocksResponse {}))
    }

    async fn open_dataset(
        &self,
        _request: Request<v1::OpenDatasetRequest>,
    ) -> Result<Response<v1::OpenDatasetResponse>, Status> {
        unused()
    }

    async fn place_blocks(
        &self,
        _request: Request<v1::PlaceBlocksRequest>,
    ) -> Result<Response<v1::PlaceBlocksResponse>, Status> {
        unused()
    }

    async fn append_blocks(
        &self,
        _request: Request<v1::AppendBlocksRequest>,
    ) -> Result<Response<v1::AppendBlocksResponse>, Status> {
        unused()
    }

    async fn seal_dataset(
        &self,
        _request: Request<v1::SealDatasetRequest>,
    ) -> Result<Response<v1::SealDatasetResponse>, Status> {
        unused()
    }

    async fn abandon_dataset(
        &self,
        _request: Request<v1::AbandonDatasetRequest>,
    ) -> Result<Response<v1::AbandonDatasetResponse>, Status> {
        unused()
    }

    async fn get_dataset(
        &self,
        _request: Request<v1::GetDatasetRequest>,
    ) -> Result<Response<v1::GetDatasetResponse>, Status> {
        unused()
    }

    async fn list_datasets(
        &self,
        _request: Request<v1::ListDatasetsRequest>,
    ) -> Result<Response<v1::ListDatasetsResponse>, Status> {
        unused()
    }

    async fn list_blocks(
        &self,
        _request: Request<v1::ListBlocksRequest>,
    ) -> Result<Response<v1::ListBlocksResponse>, Status> {
        unused()
    }

    async fn remove_dataset(
        &self,
        _request: Request<v1::RemoveDatasetRequest>,
    ) -> Result<Response<v1::RemoveDatasetResponse>, Status> {
        unused()
    }
}
